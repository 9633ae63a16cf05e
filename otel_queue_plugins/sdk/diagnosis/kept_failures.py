"""Keep the facts about failed exports, for a command that shows them instead of logging them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.sdk.diagnosis import export_failures
from otel_queue_plugins.sdk.diagnosis.export_failures import ExportFailureFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.diagnosis.export_calls import ExportCall

_LOOK_S: Final = 0.05


class KeptFailures(ExportFailureFilter):
    """Has the first failure of each signal, in place of a log line."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self._changed = threading.Condition()
        self._first: dict[str, ExportCall] = {}

    @classmethod
    def install(cls) -> KeptFailures:
        """Begin to keep the failures of this process."""
        return export_failures.install(cls())

    def wait(self, signal: str, is_done: Callable[[], bool], seconds: float) -> ExportCall | None:
        """The first failure of `signal`; None if there is none when `is_done`, or in time."""
        until = time.monotonic() + seconds
        with self._changed:
            while signal not in self._first and not is_done() and time.monotonic() < until:
                self._changed.wait(_LOOK_S)
            return self._first.get(signal)

    def _log_failure(self, call: ExportCall, **_: bool) -> None:
        with self._changed:
            self._first.setdefault(call.target.signal, call)
            self._changed.notify_all()
