"""What of a log record may leave: what is redacted, and whose arguments are left out.

Log records belong to the whole process. Several plugins in it redact what any of them redacts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core.policy import redaction as redactions

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from otel_queue_plugins.core.policy.redaction import Redaction

    Rewrite = Callable[[logging.LogRecord], str | None]
    """Returns the text of a record without arguments of tasks; None if it has none."""

MAX_TEXT: Final = 65_536


class Privacy:
    """The rules that log records have to keep in this process."""

    def __init__(self) -> None:
        self._given: Redaction | None = None
        self._rewrites: list[Rewrite] = []

    @property
    def redaction(self) -> Redaction:
        """The redaction of all plugins together."""
        return redactions.DEFAULT if self._given is None else self._given

    def redact(self, redaction: Redaction) -> None:
        """Redact what `redaction` redacts, too."""
        self._given = redaction if self._given is None else self._given | redaction

    def hide_arguments(self, rewrite: Rewrite) -> None:
        """Let `rewrite` leave the arguments of tasks out of the records of a framework."""
        if rewrite not in self._rewrites:
            self._rewrites.append(rewrite)

    def text(self, text: str) -> str:
        """`text`, redacted, and then at most 65,536 characters."""
        redaction = self.redaction
        if len(text) <= MAX_TEXT:
            return redaction.whole(text)
        return redaction.head(text, MAX_TEXT) if redaction else text

    def body(self, record: logging.LogRecord) -> str:
        """The text of `record` that may leave."""
        for rewrite in self._rewrites:
            rewritten = rewrite(record)
            if rewritten is not None:
                return self.text(rewritten)
        return self.text(record.getMessage())


in_use: Final = Privacy()
