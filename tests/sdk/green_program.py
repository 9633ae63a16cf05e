"""`python -m tests.sdk.green_program LIBRARY PROVIDERS`: how long the hub stood still.

LIBRARY is `gevent` or `eventlet`. PROVIDERS are `ours`, those of the `user`, or
`init_gevent`: those of the user, with gRPC's support for gevent.
"""

from __future__ import annotations

# ruff: noqa: T201 - their output is what tests wait for
import sys
from importlib import import_module

if sys.argv[1] == "gevent":
    import_module("gevent.monkey").patch_all()
else:
    import_module("eventlet").monkey_patch()

if sys.argv[2] == "init_gevent":
    import_module("grpc.experimental.gevent").init_gevent()

import os
import threading
import time

from opentelemetry import trace

from otel_queue_plugins import sdk
from tests.sdk.programs import use_own_providers


def watch_the_hub(gaps: list[float]) -> None:
    """Notes by how much each sleep of 10 ms was too long."""
    while True:
        began = time.perf_counter()
        time.sleep(0.01)
        gaps.append(time.perf_counter() - began - 0.01)


def main() -> None:
    """Record for a second and a half, flush, and say how it went."""
    if sys.argv[2] != "ours":
        use_own_providers(os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"])
    sdk.validate()
    sdk.ensure_providers()
    gaps: list[float] = []
    threading.Thread(target=watch_the_hub, args=(gaps,), daemon=True).start()
    tracer = trace.get_tracer("tests")
    for _ in range(30):
        tracer.start_span("work").end()
        time.sleep(0.05)
    print(f"flushed {sdk.flush(4)}", flush=True)
    print(f"longest gap {max(gaps) * 1000:.0f} ms", flush=True)
    print("ends", flush=True)
    if sys.argv[2] != "ours":
        os._exit(0)


main()
