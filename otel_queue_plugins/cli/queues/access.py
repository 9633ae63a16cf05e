"""The queues that a command is about: from an app, a broker object or a URL."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.opening import reader_of_celery, reader_of_dramatiq, reader_of_url
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues import apps, management
from otel_queue_plugins.cli.queues.failures import UsageError

_T = TypeVar("_T")
_STEP_S: Final = 2.0
_CLOSING_S: Final = 1.0
_OF_URL: Final = ("framework", "namespace", "key_prefix")


class Access:
    """The queues, and the time that is left to ask for them.

    All looks together take `timeout` seconds at most; a change may take so long without progress.
    """

    def __init__(self, reader: QueueReader, timeout: float, *, spent: float = 0.0) -> None:
        self._reader = reader
        self._timeout = timeout
        self._thread = BoundedThread(reader.close)
        self._spent = spent
        self._hangs = False

    @property
    def source(self) -> Source:
        """Whose queues, and where."""
        return self._reader.source

    def look(self, ask: Callable[[QueueReader], _T]) -> _T:
        """`ask(reader)`; BrokerError when the time of the command is over."""
        begun = time.monotonic()
        try:
            return self._call(ask, max(0.0, self._timeout - self._spent))
        finally:
            self._spent += time.monotonic() - begun

    def look_again(self, ask: Callable[[QueueReader], _T]) -> _T:
        """Do as `look`, with the whole time of the command."""
        self._spent = 0.0
        return self.look(ask)

    def change(self, act: Callable[[QueueReader], _T], last_active: Callable[[], float]) -> _T:
        """`act(reader)`; BrokerError when nothing has happened for the time of the command."""
        return self._call(act, self._timeout, last_active)

    def settle(self) -> None:
        """Wait a moment for a call that was interrupted to end."""
        self._end_quietly(lambda: None)

    def close(self) -> None:
        """Close the connection; one that hangs is left to its thread. Never raises."""
        if not self._hangs:
            self._end_quietly(self._reader.close)
        self._thread.stop()

    def _call(
        self,
        ask: Callable[[QueueReader], _T],
        timeout: float,
        last_active: Callable[[], float] | None = None,
    ) -> _T:
        try:
            return self._thread.call(lambda: ask(self._reader), timeout, last_active=last_active)
        except TimeoutError as error:
            self._hangs = True
            raise BrokerError(f"{self.source.url}: no answer in {self._timeout:g} s") from error

    def _end_quietly(self, act: Callable[[], object]) -> None:
        try:
            self._thread.call(act, _CLOSING_S)
        except TimeoutError:
            return


@contextmanager
def opened(parsed: Namespace) -> Iterator[Access]:
    """The access that the arguments name. Raises UsageError for wrong ones."""
    access = opener(parsed)()
    try:
        yield access
    finally:
        access.close()


def opener(parsed: Namespace) -> Callable[[], Access]:
    """What makes the access that the arguments name, as often as it is wanted.

    Raises UsageError for wrong ones.
    """
    with _usage_errors():
        make = _maker(parsed, parsed.timeout)  # imports the user's code, however long it takes

    def access() -> Access:
        begun = time.monotonic()
        reader = _reader_with_api(parsed, make)
        return Access(reader, parsed.timeout, spent=time.monotonic() - begun)

    return access


def reader_of(parsed: Namespace, *, timeout: float) -> QueueReader:
    """The reader that the arguments name; it connects to nothing yet. Raises UsageError."""
    with _usage_errors():
        return _maker(parsed, timeout)(parsed.management_url)


def _reader_with_api(parsed: Namespace, make: Callable[[str | None], QueueReader]) -> QueueReader:
    """The reader; RabbitMQ's management API is looked for, where the arguments name none."""
    url = parsed.management_url
    with _usage_errors():
        reader = make(url)
        if url is None and reader.source.system == "rabbitmq":
            url = management.derived(reader.source.url, parsed.timeout)
            reader = reader if url is None else make(url)
    return reader


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed, which this broker needs") from error
    except (ValueError, KeyError) as error:
        raise UsageError(error) from error


def _check(parsed: Namespace) -> None:
    if parsed.url is not None and parsed.framework is None:
        raise UsageError("--url needs --framework, celery or dramatiq")
    if parsed.url is None:
        for name in _OF_URL:
            if getattr(parsed, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} goes with --url alone")


def _maker(parsed: Namespace, timeout: float) -> Callable[[str | None], QueueReader]:
    _check(parsed)
    step = min(max(_STEP_S, timeout / 2), timeout)
    if parsed.app is not None:
        app = apps.celery_app(parsed.app)
        return lambda url: reader_of_celery(app, management_url=url, timeout=step)
    if parsed.broker is not None:
        broker = apps.dramatiq_broker(parsed.broker)
        return lambda url: reader_of_dramatiq(broker, management_url=url, timeout=step)
    return lambda url: reader_of_url(
        parsed.url,
        parsed.framework,
        queues=_named(parsed),
        namespace=parsed.namespace or "dramatiq",
        key_prefix=parsed.key_prefix or "",
        management_url=url,
        timeout=step,
    )


def _named(parsed: Namespace) -> list[str]:
    """The queues that the command line names, in either way."""
    found: list[str] = list(getattr(parsed, "queues", []))
    return found or ([parsed.queue] if "queue" in parsed else [])
