"""A queue with its telemetry in memory, and log records as they leave."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_queue_plugins.sdk.logs import bridge, privacy
from tests.core.conftest import queue
from tests.dramatiq.conftest import shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.core.conftest import Queue

__all__ = ["queue", "shop"]


def all_that_left(queue: Queue) -> str:
    """Names, attributes, events, links and status of all spans, and all metrics, as one text."""
    spans = [span.to_json() for span in queue.exporter.get_finished_spans()]
    data = queue.reader.get_metrics_data()
    text = "\n".join([*spans, data.to_json() if data else ""])
    return text.encode().decode("unicode_escape")


class Exported:
    """The log records that the log export has sent."""

    def __init__(self, exporter: InMemoryLogRecordExporter) -> None:
        self._exporter = exporter

    def records(self) -> list[Any]:
        return [each.log_record for each in self._exporter.get_finished_logs()]

    def bodies(self) -> list[str]:
        return [each.body for each in self.records()]

    def text(self) -> str:
        """All of it as one text."""
        found = [[each.body, dict(each.attributes)] for each in self.records()]
        return json.dumps(found, ensure_ascii=False).encode().decode("unicode_escape")

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exported]:
    """What is exported of the records of all loggers, with the rules of this test alone."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(bridge._logs, "get_logger", provider.get_logger)
    monkeypatch.setattr(bridge, "_is_bridged", lambda: False)
    fresh = privacy.Privacy()
    monkeypatch.setattr(privacy.in_use, "_given", fresh._given)
    monkeypatch.setattr(privacy.in_use, "_rewrites", fresh._rewrites)

    class Emitting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            token = context.attach(context.Context())
            bridge._emit(record, lambda: True)
            context.detach(token)

    handler = Emitting()
    logging.root.addHandler(handler)
    yield Exported(exporter)
    logging.root.removeHandler(handler)
    provider.shutdown()
