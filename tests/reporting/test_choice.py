"""Which queues are reported: what is consumed, or what globs choose, at most 100."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.reporting.choice import QueueChoice

if TYPE_CHECKING:
    import pytest


def test_choice_follows_what_is_consumed() -> None:
    """Also after add_consumer and cancel_consumer; declared queues alone do not count."""
    consumed = ["b"]
    choice = QueueChoice(lambda: consumed, lambda: ["declared"], ())
    assert choice() == ["b"]
    consumed[:] = ["c", "a", "worker@host.celery.pidbox"]
    assert choice() == ["a", "c"]


def test_globs_choose_among_consumed_and_declared_queues() -> None:
    """A name without wildcards is taken as it is; case matters."""
    choice = QueueChoice(
        lambda: ["orders"], lambda: ["orders.eu", "mail"], ("orders*", "far", "M*")
    )
    assert choice() == ["far", "orders", "orders.eu"]


def test_more_than_100_queues_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The first 100 by name are reported."""
    choice = QueueChoice(lambda: [f"q{number:03}" for number in range(150)], list, ())
    assert len(choice()) == len(choice()) == 100
    assert choice()[-1] == "q099"
    (record,) = caplog.records
    assert "150" in record.getMessage()
    assert "OTEL_QUEUE_STATE_QUEUES" in record.getMessage()
