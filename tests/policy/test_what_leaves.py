"""No secret leaves: neither in spans and their events, nor in metrics, logs or on a terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import _logs

from otel_queue_plugins.celery.log_arguments import without_arguments as without_celery
from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import Ending, Message, Outcome
from otel_queue_plugins.core.policy.redaction import Redaction
from otel_queue_plugins.sdk.logs import privacy
from tests.core.conftest import ROUTE, Queue
from tests.policy.conftest import Exported, all_that_left
from tests.secrets_corpus import CORPUS, EVERY_RULE, Secret

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop

_QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
_TEXTS = st.builds(
    lambda before, gap, secret, after: (f"{before}{gap}{secret.text} {after}", secret),
    st.text(max_size=40),
    st.sampled_from([" ", "\n", ", "]),
    st.sampled_from(CORPUS),
    st.text(max_size=40),
)


class _BrokerError(Exception):
    """What a broker client raises."""


def left_of(secret: Secret, text: str) -> list[str]:
    """The parts of a secret that are in `text`, which is all that left."""
    return [part for part in secret.hidden if part in text or repr(part)[1:-1] in text]


def raised(text: str) -> BaseException:
    """An exception with a cause and a frame, both with `text`."""

    def fail() -> None:
        try:
            int(text + "x")
        except ValueError as cause:
            raise _BrokerError(f"again: {text}") from cause

    try:
        fail()
    except _BrokerError as error:
        return error
    raise AssertionError


@_QUIET
@given(_TEXTS, st.sampled_from(list(Outcome)), st.booleans(), st.booleans(), st.booleans())
def test_secret_in_a_delivery_does_not_leave(
    queue: Queue,
    given_text: tuple[str, Secret],
    outcome: Outcome,
    expected: bool,
    retry_is_error: bool,
    is_dead: bool,
) -> None:
    """For any outcome: message, stack trace, reason and status; on spans, events and metrics."""
    text, secret = given_text
    queue.exporter.clear()
    own = queue.sibling(redact=",".join(EVERY_RULE), retry_is_error=retry_is_error)
    error = raised(text)
    for ending in (
        Ending(
            outcome=outcome,
            error=error,
            reason=text,
            expected=expected,
            dead_letter_queue="dead" if is_dead else None,
        ),
        Ending(outcome=outcome, reason=text),
        Ending(outcome=outcome, error=error, stacktrace=f"Traceback\n  File x\n{text}"),
    ):
        own.process(own.send(), ending)
    assert left_of(secret, all_that_left(own)) == []


@_QUIET
@given(_TEXTS)
def test_secret_in_an_error_of_the_broker_does_not_leave(
    queue: Queue, given_text: tuple[str, Secret]
) -> None:
    """Of a send, and of an ack."""
    text, secret = given_text
    queue.exporter.clear()
    own = queue.sibling(redact=",".join(EVERY_RULE), settle_spans=True)
    operation = own.telemetry.start_send(Message(route=ROUTE, id="m"), {})
    own.telemetry.end_send(operation, raised(text))
    delivery = own.start({})
    own.telemetry.end_process(delivery, Ending(outcome=Outcome.FAILURE))
    settling = own.telemetry.start_settle(delivery, "ack")
    own.telemetry.end_settle(settling, raised(text))
    assert left_of(secret, all_that_left(own)) == []


@_QUIET
@given(_TEXTS)
def test_secret_in_a_log_record_does_not_leave(
    exported: Exported, given_text: tuple[str, Secret]
) -> None:
    """Body, `extra` and exception."""
    text, secret = given_text
    exported.clear()
    privacy.in_use.redact(Redaction(EVERY_RULE))
    error = raised(text)
    logging.getLogger("shop").error("failed: %s", text, exc_info=error, extra={"note": text})
    assert len(exported.records()) == 1
    assert left_of(secret, exported.text()) == []


def test_secret_in_an_exception_record_does_not_leave(
    queue: Queue, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `exception_signal=logs` the event is a log record; it has the same texts."""
    monkeypatch.setattr(_logs, "get_logger", exported_logger(exported))
    own = queue.sibling(exception_signal="logs")
    own.process(own.send(), Ending(outcome=Outcome.FAILURE, error=raised("password=hunter2")))
    (record,) = exported.records()
    assert record.attributes["exception.message"] == "again: password=[redacted:credentials]"
    assert "hunter2" not in exported.text() + all_that_left(own)


def exported_logger(exported: Exported) -> Any:
    """The function that makes loggers whose records are in `exported`."""
    from otel_queue_plugins.sdk.logs import bridge

    del exported
    return bridge._logs.get_logger


def test_secret_stays_where_redaction_is_off(queue: Queue) -> None:
    """`none` switches `credentials` off, too."""
    own = queue.sibling(redact="none")
    span = own.process(own.send(), Ending(outcome=Outcome.FAILURE, error=ValueError("password=x")))
    assert span.attributes["exception.message"] == "password=x"


def test_default_redacts_credentials_only(queue: Queue) -> None:
    """Without any setting."""
    error = ValueError("password=x for j@x.example")
    span = queue.process(queue.send(), Ending(outcome=Outcome.FAILURE, error=error))
    message = "password=[redacted:credentials] for j@x.example"
    assert span.attributes["exception.message"] == message
    assert span.status.description == message
    assert exceptions.message(error) == "password=x for j@x.example"


def test_long_log_record_is_cut(exported: Exported) -> None:
    """At 65,536 characters; not at all where nothing is redacted."""
    logging.getLogger("shop").warning("x" * 100_000)
    assert len(exported.bodies()[0]) == privacy.MAX_TEXT
    exported.clear()
    privacy.in_use.redact(Redaction(["none"]))
    logging.getLogger("shop").warning("x" * 100_000)
    assert len(exported.bodies()[0]) == 100_000


def test_log_record_is_redacted_for_every_plugin(exported: Exported) -> None:
    """One that redacts less does not undo what another one asks for."""
    privacy.in_use.redact(Redaction(["email"]))
    privacy.in_use.redact(Redaction(["none"]))
    logging.getLogger("shop").warning("j@x.example password=x")
    assert exported.bodies() == ["[redacted:email] password=[redacted:credentials]"]


@pytest.mark.parametrize("shows", [False, True])
def test_dramatiq_logs_leave_without_arguments(shop: Shop, exported: Exported, shows: bool) -> None:
    """Dramatiq prints a message with its arguments when it fails, is skipped or received."""
    shop.instrument(log_arguments=shows)

    @shop.actor(max_retries=0)
    def charge(_card: str, **_: str) -> None:
        raise ValueError("declined")

    loggers = [logging.getLogger(name) for name in ("dramatiq", __name__)]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        charge.send("number-77", holder="jane-doe")
        shop.work()
    finally:
        for logger, level in levels:
            logger.setLevel(level)
    printed = "Failed to process message charge(...) with unhandled exception."
    assert (printed in exported.bodies()) is not shows
    assert ("Received args=... kwargs=..." in exported.bodies()) is not shows
    assert ("number-77" in exported.text()) is shows
    assert ("jane-doe" in exported.text()) is shows
    assert "declined" in exported.text()
    assert dramatiq.get_broker


@pytest.mark.parametrize(
    ("name", "text", "args", "expected"),
    [
        (
            "celery.worker.consumer.consumer",
            "Received unregistered task of type %s.\nbody: %s\nheaders: %s\ninfo: %s",
            ("KeyError('t')", "[[4111], {}]", {"argsrepr": "4111"}, {"routing_key": "q"}),
            (
                "Received unregistered task of type KeyError('t').\nbody: ...\nheaders: ...\n"
                "info: {'routing_key': 'q'}"
            ),
        ),
        (
            "celery.worker.consumer.consumer",
            "Received and deleted unknown message.  Wrong destination?!?\n\n: %s\n",
            ("body: 4111",),
            "Received and deleted unknown message.  Wrong destination?!?\n\n: ...\n",
        ),
        (
            "celery.worker.consumer.consumer",
            "Received invalid task message: %s\nThe full contents: %s",
            ("no id", "4111"),
            "Received invalid task message: no id\nThe full contents: ...",
        ),
        (
            "celery.worker.consumer.consumer",
            "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s\n",
            (ValueError("x"), "json", "utf-8", {"argsrepr": "4111"}, b"4111"),
            (
                "Can't decode message body: ValueError('x') [type:'json' encoding:'utf-8' "
                "headers:...]\n\nbody: ...\n"
            ),
        ),
        (
            "celery.concurrency.base",
            "TaskPool: Apply %s (args:%s kwargs:%s)",
            ("trace", "4111", "{}"),
            "TaskPool: Apply trace (args:... kwargs:...)",
        ),
        (
            "celery.worker.strategy",
            "Task %(name)s got %(args)s and %(kwargs)s",
            ({"name": "t", "args": "(4111,)", "kwargs": "{}"},),
            "Task t got ... and ...",
        ),
        (
            "celery.app.trace",
            "Task %(name)s succeeded: %(return_value)s",
            ({"name": "t", "return_value": "4111", "args": "()"},),
            "Task t succeeded: ...",
        ),
        ("celery.beat", "Current schedule:\n<charge: charge(4111)>", (), "Current schedule: ..."),
        ("celery.app.trace", "Task %(name)s done", ({"name": "t", "args": "(4111,)"},), None),
        ("celery.worker", "Task of %s", ("shop",), None),
        ("shop", "Received invalid task message: %s %s", ("4111", "1"), None),
    ],
)
def test_celery_records_leave_without_arguments(
    exported: Exported, name: str, text: str, args: tuple[Any, ...], expected: str | None
) -> None:
    """All that print a body, headers or arguments; the others stay as they are."""
    privacy.in_use.hide_arguments(without_celery)
    privacy.in_use.hide_arguments(without_celery)
    logging.getLogger(name).error(text, *args)
    shown = text % (args[0] if args and isinstance(args[0], dict) else args)
    assert exported.bodies() == [shown if expected is None else expected]
