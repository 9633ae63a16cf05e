"""How a process span relates to the span that sent it: app, task, call, environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import group
from opentelemetry import baggage, context

from tests.celery.conftest import (
    Telemetry,
    ids,
    instrumenting,
    linked_ids,
    memory_app,
    parent_ids,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery


@pytest.fixture(scope="module")
def app() -> Iterator[Celery]:
    """A worker that starts without the plugin."""
    app = memory_app()

    @app.task(shared=False, name="plain")
    def plain() -> dict[str, Any]:
        return dict(baggage.get_all())

    @app.task(shared=False, name="apart", otel_relation="link")
    def apart() -> dict[str, Any]:
        return dict(baggage.get_all())

    @app.task(shared=False, name="again", bind=True)
    def again(self: Any) -> None:
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    with running(app):
        yield app


def relation(telemetry: Telemetry, task: str) -> str:
    """The relation of the two spans of the only message of `task`."""
    sent, processed = telemetry.one(f"send {task}"), telemetry.one(f"process {task}")
    telemetry.exporter.clear()
    linked = ids(sent) in linked_ids(processed)
    if parent_ids(processed) == ids(sent):
        assert not linked
        return "child"
    assert processed.parent is None
    assert ids(processed)[0] != ids(sent)[0]
    return "link" if linked else "none"


@pytest.mark.parametrize("chosen", ["child", "link", "none"])
@pytest.mark.parametrize("where", ["app", "environment", "call", "signature", "mapping"])
def test_relation_by_each_way_is_used(
    app: Celery, chosen: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baggage is propagated with each of them."""
    options: dict[str, Any] = {}
    if where == "app":
        options["relation"] = chosen
    elif where == "mapping":
        options["relations"] = {"plain": chosen}
    elif where == "environment":
        monkeypatch.setenv("OTEL_QUEUE_RELATION", chosen)
    with instrumenting(**options) as telemetry:
        plain = app.tasks["plain"]
        token = context.attach(baggage.set_baggage("user", "7"))
        if where == "call":
            result = plain.apply_async(otel_relation=chosen)
        elif where == "signature":
            result = plain.s().set(otel_relation=chosen).delay()
        else:
            result = plain.delay()
        context.detach(token)
        assert result.get(timeout=60, interval=0.01) == {"user": "7"}
        assert relation(telemetry, "plain") == chosen


def test_relation_of_call_wins_over_others(app: Celery) -> None:
    """Call before task, task before mapping, mapping before app."""
    with instrumenting(relation="none", relations={"apart": "none", "plain": "child"}) as telemetry:
        app.tasks["plain"].delay()
        assert relation(telemetry, "plain") == "child"
        app.tasks["apart"].delay()
        assert relation(telemetry, "apart") == "link"
        app.tasks["apart"].apply_async(otel_relation="child")
        assert relation(telemetry, "apart") == "child"


@pytest.mark.parametrize("bad", ["sibling", 7, None, [], object()])
def test_wrong_relation_in_call_is_not_used(app: Celery, bad: object) -> None:
    """A typo in a call must not cost the message: the next choice is used."""
    with instrumenting() as telemetry:
        app.tasks["apart"].apply_async(otel_relation=bad)
        assert relation(telemetry, "apart") == "link"


def test_wrong_relation_in_call_is_logged(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the wrong value."""
    with instrumenting():
        app.tasks["apart"].apply_async(otel_relation="misspelt")
    assert "otel_relation='misspelt'" in caplog.text


def test_wrong_relation_in_option_raises() -> None:
    """Where it cannot cost a message, it raises at once."""
    with pytest.raises(ValueError, match="sibling"), instrumenting(relations={"a": "sibling"}):
        pass


def test_auto_relation_links_scheduled_and_large_group(app: Celery) -> None:
    """`auto`: prompt work is a child, a countdown or a large group is linked."""
    with instrumenting(relation="auto", auto_link_fan_out=3) as telemetry:
        plain = app.tasks["plain"]
        plain.delay()
        assert relation(telemetry, "plain") == "child"
        plain.apply_async(countdown=0.05)
        assert relation(telemetry, "plain") == "link"
        group(plain.s(), plain.s()).delay().get(timeout=60, interval=0.01)
        assert all(span.parent for span in telemetry.expect(2, "process plain"))
        telemetry.exporter.clear()
        group(plain.s(), plain.s(), plain.s()).delay().get(timeout=60, interval=0.01)
        assert not any(span.parent for span in telemetry.expect(3, "process plain"))


def test_retry_keeps_relation_of_its_message(app: Celery) -> None:
    """The sender decides; attempts of one linked message are linked to it and to each other."""
    with instrumenting() as telemetry:
        app.tasks["again"].apply_async(otel_relation="link")
        first, second, third = telemetry.expect(3, "process again")
        sent = ids(telemetry.one("send again"))
    assert [span.parent for span in (first, second, third)] == [None] * 3
    assert linked_ids(third) == [sent, ids(second)]
    assert linked_ids(second) == [sent, ids(first)]
