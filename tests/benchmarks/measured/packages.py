"""The tracing packages under test, each set up the way its own documentation says."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.benchmarks.measured.encoding import ours
from tests.benchmarks.measured.providers import NOTHING, RATIO, Telemetry, configure
from tests.benchmarks.measured.wrappers import CeleryWrappers, DramatiqWrappers, Spans


class Package(NamedTuple):
    """The moments at which a package may be told of the process it is in."""

    telemetry: Telemetry = NOTHING
    on_app: Callable[[Any], object] = lambda _app: None
    on_worker: Callable[[Any], object] = lambda _app: None


def prepare(package: str, framework: str, mode: str) -> Package:
    """Set up `package` in this process, before the application exists."""
    return _PACKAGES[package](framework, mode)


def _plain(framework: str, mode: str) -> Package:
    del framework
    return Package(telemetry=configure(mode))


def _floor(framework: str, mode: str) -> Package:
    telemetry = configure(mode)
    from tests.benchmarks.measured.floor import Floor

    return _wrapped(framework, telemetry, Floor(framework, metrics_on="metrics" in mode))


def _core(framework: str, mode: str) -> Package:
    telemetry = configure(mode)
    from tests.benchmarks.measured.core_only import CoreOnly

    return _wrapped(framework, telemetry, CoreOnly(framework))


def _wrapped(framework: str, telemetry: Telemetry, spans: Spans) -> Package:
    if framework == "celery":
        celery = CeleryWrappers(spans)
        return Package(telemetry, on_app=celery.wrap_sending, on_worker=celery.wrap_running)
    return Package(telemetry, on_app=DramatiqWrappers(spans).wrap)


def _contrib(framework: str, mode: str) -> Package:
    del framework
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    telemetry = configure(mode)
    CeleryInstrumentor().instrument()
    return Package(telemetry)


def _instrumentor(framework: str, mode: str) -> Package:
    del framework
    from opentelemetry_instrumentor_dramatiq import DramatiqInstrumentor

    telemetry = configure(mode)
    DramatiqInstrumentor().instrument()
    return Package(telemetry)


def _prometheus(framework: str, mode: str) -> Package:
    del framework, mode

    def add(broker: Any) -> None:
        from dramatiq.middleware.prometheus import Prometheus

        broker.add_middleware(Prometheus())

    return Package(on_app=add)


def _ddtrace(framework: str, mode: str) -> Package:
    os.environ["DD_CELERY_DISTRIBUTED_TRACING"] = "true"
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "false"
    os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "false"
    if mode.startswith("ratio"):
        os.environ["DD_TRACE_SAMPLING_RULES"] = f'[{{"sample_rate": {RATIO}}}]'
    from ddtrace import patch
    from ddtrace.internal.writer import TraceWriter
    from ddtrace.trace import tracer

    class Discarding(TraceWriter):
        count = 0

        def recreate(self, *_args: object, **_kwargs: object) -> TraceWriter:
            return self

        def stop(self, timeout: float | None = None) -> None:
            pass

        def write(self, spans: Any = None) -> None:
            self.count += len(spans or ())

        def flush_queue(self, *_args: object, **_kwargs: object) -> None:
            pass

    writer = Discarding()
    tracer._span_aggregator.writer = writer
    patch(**{framework: True})
    return Package(NOTHING._replace(spans=lambda: writer.count))


def _sentry(framework: str, mode: str) -> Package:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Discarding(Transport):
        count = 0

        def capture_envelope(self, envelope: Any) -> None:
            del envelope
            self.count += 1

    transport = Discarding()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=transport,
        traces_sample_rate=RATIO if mode.startswith("ratio") else 1.0,
        integrations=[_sentry_integration(framework)],
    )
    return Package(NOTHING._replace(spans=lambda: transport.count))


def _sentry_integration(framework: str) -> Any:
    if framework == "celery":
        from sentry_sdk.integrations.celery import CeleryIntegration

        return CeleryIntegration()
    from sentry_sdk.integrations.dramatiq import DramatiqIntegration

    return DramatiqIntegration()


def _ours(framework: str, mode: str) -> Package:
    telemetry = configure(mode, encoder=ours)
    if mode == "nosdk":
        os.environ["OTEL_SDK_DISABLED"] = "true"
    if framework == "celery":
        from otel_queue_plugins.celery import instrument

        instrument()
        return Package(telemetry)
    from otel_queue_plugins.dramatiq import instrument as instrument_broker

    return Package(telemetry, on_app=instrument_broker)


def _ours_by_api(framework: str, mode: str) -> Package:
    os.environ["OTEL_QUEUE_FASTPATH"] = "off"
    return _ours(framework, mode)


_PACKAGES: dict[str, Callable[[str, str], Package]] = {
    "plain": _plain,
    "floor": _floor,
    "core": _core,
    "contrib": _contrib,
    "instrumentor": _instrumentor,
    "prometheus": _prometheus,
    "ddtrace": _ddtrace,
    "sentry": _sentry,
    "ours": _ours,
    "ours-api": _ours_by_api,
}
