"""Names follow OpenTelemetry's specification of how Prometheus has them."""

from __future__ import annotations

import pytest

from otel_queue_plugins.worker_http import prometheus_names


@pytest.mark.parametrize(
    ("name", "unit", "kind", "family"),
    [
        ("messaging.process.duration", "s", "histogram", "messaging_process_duration_seconds"),
        ("taskqueue.task.retries", "{retry}", "counter", "taskqueue_task_retries"),
        ("jobs.total", "", "counter", "jobs"),
        ("sent.bytes", "By", "counter", "sent_bytes"),
        ("disk.used", "1", "gauge", "disk_used_ratio"),
        ("done", "1", "counter", "done"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("rate", "{packet}/s", "gauge", "rate_per_second"),
        ("odd--name..x", "", "gauge", "odd_name_x"),
        ("2fast", "", "gauge", "_2fast"),
        ("custom", "beers", "gauge", "custom_beers"),
    ],
)
def test_family_has_unit_and_no_total(name: str, unit: str, kind: str, family: str) -> None:
    """The unit is written out, annotations are dropped, and a suffix is never doubled."""
    assert prometheus_names.family(name, unit, kind)[0] == family


def test_labels_of_equal_names_are_joined() -> None:
    """Both values are kept, with a semicolon between."""
    pairs = [("a.b", "1"), ("a_b", "2"), ("0x", "3")]
    assert prometheus_names.labels(pairs) == {"a_b": "1;2", "key_0x": "3"}
