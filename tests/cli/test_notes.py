"""The lines under a span."""

from __future__ import annotations

from otel_queue_plugins.cli.view.glyphs import UNICODE
from otel_queue_plugins.cli.view.notes import label, notes_of
from tests.cli.spans import TRACE, event, process, span


def _notes(shown, *others):
    return list(notes_of(shown, {each.span_id: each for each in others}, UNICODE))


def test_a_retry_says_when_why_and_after_what_time() -> None:
    """The facts of the event, with the exception by its short name."""
    retried = process(
        "1",
        "pay",
        0,
        50,
        "retry",
        events=(
            event(
                "taskqueue.retry",
                49,
                taskqueue__retry__delay=0.5,
                error__type="shop.errors.CardError",
                taskqueue__retry__reason="no answer",
            ),
        ),
    )
    assert _notes(retried) == ["◆ taskqueue.retry +49 ms · delay 500 ms · CardError: no answer"]


def test_a_reason_that_names_the_exception_is_not_told_twice() -> None:
    """Some frameworks put the type into the reason, some do not."""
    retried = process(
        "1",
        "pay",
        0,
        50,
        "retry",
        events=(
            event(
                "taskqueue.retry",
                49,
                error__type="shop.CardError",
                taskqueue__retry__reason="CardError: no answer",
            ),
        ),
    )
    assert _notes(retried) == ["◆ taskqueue.retry +49 ms · CardError: no answer"]


def test_a_dead_letter_says_where_it_went() -> None:
    """The queue to look into."""
    dead = process(
        "1",
        "pay",
        0,
        50,
        "dead_letter",
        events=(
            event(
                "taskqueue.dead_letter",
                50,
                taskqueue__dead_letter__reason="retries_exhausted",
                taskqueue__dead_letter__queue="shop.XQ",
            ),
        ),
    )
    assert _notes(dead) == ["◆ taskqueue.dead_letter +50 ms · to shop.XQ · retries_exhausted"]


def test_an_exception_without_text_is_its_name() -> None:
    """No colon without something behind it."""
    failed = process(
        "1", "pay", 0, 9, "failure", events=(event("exception", 9, exception__type="KeyError"),)
    )
    assert _notes(failed) == ["◆ exception +9.0 ms · KeyError"]


def test_what_the_picture_shows_is_not_said_again() -> None:
    """The reception is a change of shade in the bar."""
    shown = process(
        "2",
        "pay",
        0,
        50,
        "success",
        parent="1",
        events=(event("taskqueue.received", 0),),
    )
    assert _notes(shown, span("1", "send pay", 0, 1)) == []
    skipped = process(
        "2",
        "pay",
        0,
        50,
        "skipped",
        events=(event("taskqueue.skipped", 0, taskqueue__skip__reason="age_limit"),),
    )
    assert _notes(skipped) == ["◆ taskqueue.skipped +0.0 ms · age_limit"]


def test_links_to_the_same_kind_of_span_are_counted() -> None:
    """A joining task links to each member of its group; one line says so."""
    members = [span(str(number), "send pack", 0, 1) for number in range(3)]
    first = process("8", "ship", 2, 3, "retry")
    shown = process("9", "ship", 4, 5, "success", links=("0", "1", "2", "8"))
    assert _notes(shown, *members, first) == [
        "↪ link to 3 × send pack",  # noqa: RUF001 - the sign that is meant
        "↪ link to process ship",
    ]


def test_a_link_into_another_trace_names_that_trace() -> None:
    """So that it can be looked up."""
    assert _notes(process("9", "ship", 4, 5, "success", links=("1",))) == [
        f"↪ link to trace {TRACE}"
    ]


def test_attempts_are_numbered_from_the_second_on() -> None:
    """Most tasks run once; their name stays plain."""
    assert label(process("1", "pay", 0, 1, "success", attempt=1)) == "process pay"
    assert label(process("1", "pay", 0, 1, "success", attempt=3)) == "process pay #3"
