"""`otel-queue queues`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli.queues import queues_command
from tests.cli.queue_commands import Command, fill_celery, fill_dramatiq, kill

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

NUMBERS = ("ready", "delayed", "unacked", "dead", "oldest_age_s", "consumers")


def test_document_has_the_keys_of_the_contract(redis: Any, celery: Command) -> None:
    """A number is null if and only if it has its reason, and stdout has nothing else."""
    fill_celery(redis, "a", "b")
    done = celery("queues", "--json")
    assert done.code == 0
    assert done.err == ""
    assert set(done.document) == {"captured_at", "broker", "framework", "queues"}
    assert done.document["broker"] == "redis://localhost/0"
    assert done.document["framework"] == "celery"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", done.document["captured_at"])
    (row,) = done.document["queues"]
    assert set(row) == {"name", "system", *NUMBERS, "unknown"}
    assert (row["name"], row["system"], row["ready"]) == ("orders", "redis", 2)
    assert {name for name in NUMBERS if row[name] is None} == set(row["unknown"])


def test_rows_are_sorted_by_name(redis: Any, celery: Command) -> None:
    """Also those that the command line names, each once."""
    fill_celery(redis, "a", queue="z")
    done = celery("queues", "--json", "--queue", "z", "--queue", "a", "--queue", "z")
    assert [row["name"] for row in done.document["queues"]] == ["a", "z"]
    assert [row["ready"] for row in done.document["queues"]] == [0, 1]


def test_text_has_a_row_for_each_queue_and_reasons_below(redis: Any, dramatiq: Command) -> None:
    """In 80 columns; `--quiet` leaves the reasons out."""
    fill_dramatiq(redis, "a", "b")
    kill(redis, "c")
    done = dramatiq("queues")
    heading, row, *reasons = done.out.splitlines()
    assert heading.split() == [
        *("QUEUE", "READY", "DELAYED", "UNACKED", "DEAD", "OLDEST", "CONSUMERS")
    ]
    assert row.split()[:5] == ["orders", "2", "0", "0", "1"]
    assert row.endswith("?")
    assert [line for line in reasons if line.startswith("? consumers: ")]
    assert max(map(len, done.out.splitlines())) <= 80
    assert dramatiq("queues", "--quiet").out.splitlines()[2:] == []


@pytest.mark.usefixtures("redis")
def test_name_in_a_row_has_no_control_characters(celery: Command) -> None:
    """A message may hold what a terminal would obey."""
    done = celery("queues", "--queue", "a\x1b[2Jb")
    assert "\x1b" not in done.out
    assert "a?[2Jb" in done.out


@pytest.mark.usefixtures("redis")
def test_watch_shows_numbers_until_it_is_interrupted(
    celery: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends well; with `--json` it is refused, for that is one document."""

    def interrupt(seconds: float) -> None:
        assert seconds == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(queues_command.time, "sleep", interrupt)
    done = celery("queues", "--watch", "2")
    assert done.code == 0
    assert "orders" in done.out
    refused = celery("queues", "--watch", "2", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "--watch" in refused.err


@pytest.mark.usefixtures("recorded")
def test_look_is_a_span_only_if_it_is_asked_for(
    redis: Any,
    celery: Command,
    span_exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By `--audit`, or by the environment for all looks."""
    fill_celery(redis, "a")
    celery("queues")
    celery("peek", "orders")
    assert span_exporter.get_finished_spans() == ()
    celery("queues", "--audit")
    monkeypatch.setenv("OTEL_QUEUE_AUDIT", "all")
    celery("peek", "orders")
    celery("show", "a")
    spans = span_exporter.get_finished_spans()
    assert [span.name for span in spans] == ["queues", "peek orders", "show"]
    assert dict(spans[1].attributes or {})["taskqueue.admin.matched"] == 1
    assert dict(spans[1].attributes or {})["taskqueue.admin.state"] == "ready"
