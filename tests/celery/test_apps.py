"""A proxy of an app is as good as the app; other values are refused before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import wrapt
from celery import Celery, Task, current_app, signals
from celery.local import PromiseProxy, Proxy

from otel_queue_plugins.celery import instrument
from tests.celery.conftest import instrumenting, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SlottedProxy:
    """As a proxy of Werkzeug: no weak references, and the class of its target."""

    __slots__ = ("_behind",)

    def __init__(self, behind: Callable[[], Any]) -> None:
        object.__setattr__(self, "_behind", behind)

    def _get_current_object(self) -> Any:
        return object.__getattribute__(self, "_behind")()

    @property
    def __class__(self) -> Any:
        return self._get_current_object().__class__

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AttributeError(value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)


class LazyObject:
    """As a proxy of Django: weak references of its own, equal to nothing else."""

    def __init__(self, behind: Callable[[], Any]) -> None:
        self.__dict__["_behind"] = behind

    @property
    def __class__(self) -> Any:
        return self.__dict__["_behind"]().__class__

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AttributeError(value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_behind"](), name)


class Subclass(Celery):
    """An app of a user's own kind."""

    __slots__ = ("more",)


PROXIES: dict[str, Callable[[Celery], Any]] = {
    "itself": lambda app: app,
    "celery's": lambda app: Proxy(lambda: app),
    "celery's promise": lambda app: PromiseProxy(lambda: app),
    "a proxy of a proxy": lambda app: Proxy(lambda: SlottedProxy(lambda: app)),
    "werkzeug's": lambda app: SlottedProxy(lambda: app),
    "django's": lambda app: LazyObject(lambda: app),
    "wrapt's": wrapt.ObjectProxy,
}


@pytest.mark.parametrize("kind", PROXIES)
def test_instrument_with_proxy_covers_its_app_only(kind: str) -> None:
    """The app behind the proxy is traced, and no other."""
    app, other = memory_app(), memory_app()
    with instrumenting(PROXIES[kind](app)) as telemetry:
        app.send_task("a")
        other.send_task("b")
        assert [span.name for span in telemetry.spans()] == ["send a"]


@pytest.fixture
def current() -> Iterator[Celery]:
    """The app behind `current_app`."""
    before = current_app._get_current_object()
    app = memory_app()
    app.set_current()
    yield app
    before.set_current()


def test_instrument_with_current_app_covers_it(current: Celery) -> None:
    """The app that is current when `instrument` is called stays covered."""
    with instrumenting(current_app) as telemetry:
        current_app.send_task("a")
        memory_app().set_current()
        current_app.send_task("b")
        current.send_task("c")
        assert [span.name for span in telemetry.spans()] == ["send a", "send c"]


def test_eager_task_with_proxy_as_app_is_traced(current: Celery) -> None:
    """A task class without an app has `current_app`: its eager runs are traced as any others."""

    class Unbound(Task):
        name = "unbound"

        def run(self) -> int:
            return 1

    task = Unbound()
    current.tasks.register(task)
    with instrumenting(current) as telemetry:
        assert type(task.app) is Proxy
        task.apply()
        processed = telemetry.one("process unbound")
    assert processed.attributes["messaging.destination.name"] == current.conf.task_default_queue


def test_instrument_with_subclass_of_celery_covers_it() -> None:
    """Also a subclass with slots."""
    app = Subclass("own", broker="memory://", set_as_current=False)
    with instrumenting(app) as telemetry:
        app.send_task("a")
        telemetry.expect(1)


def test_worker_of_proxied_app_is_traced() -> None:
    """Both the send and the delivery of a message have a span."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add() -> int:
        return 1

    with instrumenting(Proxy(lambda: app)) as telemetry, running(app):
        add.delay()
        telemetry.expect(2)


def unbound() -> Any:
    """Called by a proxy without a target."""
    raise RuntimeError("nothing is bound")


NO_APPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a name": (lambda: "shop.celery:app", "'shop.celery:app'"),
    "an object": (object, "<object object at"),
    "a class": (lambda: Celery, "<class 'celery.app.base.Celery'>"),
    "a number": (lambda: 0, "0"),
    "a long text": (lambda: "x" * 9999, "'xxx"),
    "a proxy of something else": (lambda: Proxy(lambda: "text"), "'text'"),
    "a proxy of nothing": (lambda: Proxy(unbound), "<celery.local"),
}


@pytest.mark.parametrize("kind", NO_APPS)
def test_instrument_without_app_type_raises(kind: str) -> None:
    """TypeError has the value and what is accepted; nothing is installed by then."""
    before = [list(signal.receivers or ()) for signal in (signals.worker_init, signals.beat_init)]
    send, (make, shown) = vars(Celery)["send_task"], NO_APPS[kind]
    with pytest.raises(TypeError, match=r"is no Celery app: give one, .*current_app") as raised:
        instrument(make())
    assert str(raised.value).startswith(shown)
    assert len(str(raised.value)) < 400
    assert vars(Celery)["send_task"] is send
    after = [list(signal.receivers or ()) for signal in (signals.worker_init, signals.beat_init)]
    assert after == before
