"""Work that may hang, done beside the checks in a thread that the command does not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from otel_queue_plugins.core.api import suppression

T = TypeVar("T")


class Background(Generic[T]):
    """`function()` in a thread of its own, from now on.

    What it does is not traced by instrumentations of clients, unless `is_traced`.
    """

    def __init__(self, function: Callable[[], T], *, is_traced: bool = False) -> None:
        self._is_traced = is_traced
        self._function = function
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="otel-queue-doctor", daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> T:
        """What it has returned; TimeoutError if it takes longer. Raises what it has raised."""
        self._thread.join(max(0.0, seconds))
        if self._error is not None:
            raise self._error
        if not self._results:
            raise TimeoutError
        return self._results[0]

    def is_done(self) -> bool:
        """Whether it has returned or raised."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        if not self._is_traced:
            suppression.suppress_in_empty_context()  # for as long as the thread lives
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
