"""The metrics of a whole worker in one place, for whoever shows them: OTLP, for each process.

A prefork pool with a relay is one process in this respect. The processes of a Dramatiq worker
answer each other once they have called `answer`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.global_providers import OWN
from otel_queue_plugins.sdk.relay.siblings import Answering, ask

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

logger = logging.getLogger("otel_queue_plugins")

_readers: Final[WeakKeyDictionary[Any, InMemoryMetricReader]] = WeakKeyDictionary()
_service_providers: Final[WeakSet[Any]] = WeakSet()


def answer() -> Answering | None:
    """Let the other processes of this worker have the numbers of this one.

    None where that cannot be had.
    """
    try:
        return Answering(of_this_process)
    except (OSError, AttributeError) as error:
        logger.warning("other processes of this worker cannot ask for the numbers: %s", error)
        return None


def keep(provider: Any) -> bool:
    """Gather the numbers of a provider of the SDK from now on; whether that can be had.

    What was measured before is in nobody's numbers: call this before anything is.
    """
    if not hasattr(provider, "add_metric_reader"):
        return False
    _reader(provider)
    return True


def add_service_provider(provider: Any) -> None:
    """Count what `provider` observes about the whole service as numbers of this process, too."""
    _service_providers.add(provider)


def of_service() -> bytes:
    """What was observed here about the whole service, as `of_provider` has it."""
    return b"".join(_encoded(each) for each in list(_service_providers))


def of_worker(seconds: float) -> list[bytes]:
    """An `ExportMetricsServiceRequest` for each process that answers within that time."""
    opened = relay.of_this_worker()
    if opened is not None and opened.is_here():
        return [of_this_process()]
    return ask(seconds)


def of_this_process() -> bytes:
    """Its metrics as an `ExportMetricsServiceRequest`, cumulative; empty if there are none."""
    return of_provider(OWN.get("metrics"))


def of_provider(given: Any) -> bytes:
    """As `of_this_process`, of a provider of the SDK. A relay of this process has its own."""
    opened = relay.of_this_worker()
    provider = relay.meter_provider() or given
    if opened is not None and opened.is_here():
        opened.settle()
    return _encoded(provider)


def _encoded(provider: Any) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    data = _reader(provider).get_metrics_data() if hasattr(provider, "add_metric_reader") else None
    return b"" if data is None else encode_metrics(data).SerializeToString()


def _reader(provider: Any) -> InMemoryMetricReader:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    found = _readers.get(provider)
    if found is None:
        found = _readers[provider] = InMemoryMetricReader()
        provider.add_metric_reader(found)
    return found
