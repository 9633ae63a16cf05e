"""A process that has imported an app and sends from it, as a web process does."""

from __future__ import annotations

import json
import os
import secrets
import select
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.processes import ManagedProcess, ProcessError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a snippet assigned to `result`, and the caller's span it ran under (never exported)."""

    result: Any
    trace_id: str
    span_id: str


class Producer:
    """A process that has imported an app and runs snippets of code against it."""

    def __init__(self, process: ManagedProcess, answers_fd: int) -> None:
        self.process = process
        self._answers = os.fdopen(answers_fd, "rb", buffering=0)
        self._is_ready = False

    def run(
        self,
        code: str,
        *,
        sampled: bool = True,
        caller: bool = True,
        carrier: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Sent:
        """Run `code` in the app's namespace; what it puts into `result` comes back through JSON.

        It runs as if inside a remote span of a new trace, or with `caller=False` inside none.
        `carrier` adds what else the caller's context holds (`baggage`, `tracestate`). A raised
        exception is a ProcessError with its traceback.
        """
        trace_id, span_id = (secrets.token_hex(16), secrets.token_hex(8)) if caller else ("", "")
        traceparent = f"00-{trace_id}-{span_id}-0{int(sampled)}"
        context = ({"traceparent": traceparent} if caller else {}) | dict(carrier or {})
        if not self._is_ready:
            self._is_ready = bool(self._answer(20))
        request = {"code": textwrap.dedent(code), "carrier": context}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return Sent(result=self._answer(timeout), trace_id=trace_id, span_id=span_id)

    def finish(self, timeout: float = 60) -> int:
        """Let the process end normally, with every atexit handler; return its return code."""
        self.process.stdin.close()
        return self.process.wait(timeout)

    def close(self) -> None:
        """Close the pipe. The owner of the process ends it."""
        self._answers.close()

    def _answer(self, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            part = self._answers.read(65536) if ready else b""
            if not part:
                reason = "ended" if ready else f"gave no answer in {timeout:g} s"
                raise ProcessError(f"{self.process.name} {reason}\n{self.process.tail()}")
            line += part
        answer = json.loads(line)
        if "error" in answer:
            raise ProcessError(f"{self.process.name}: the snippet raised\n{answer['error']}")
        return answer["result"]
