"""A client for the HTTP of a worker: requests, and conditions to wait for."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotYetError(AssertionError):
    """The worker has nothing to answer yet."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server has answered, and after how many seconds."""

    status: int
    headers: Any
    body: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Client:
    """Asks the server at a port of loopback."""

    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """One request; an answer of any status is a reply."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, method=method, headers=headers)
        began = time.monotonic()
        try:
            with NO_PROXY.open(request, timeout=30) as answer:
                body, status = answer.read().decode(), answer.status
                return Reply(status, answer.headers, body, time.monotonic() - began)
        except urllib.error.HTTPError as error:
            body = error.read().decode()
            return Reply(error.code, error.headers, body, time.monotonic() - began)

    def stats(self) -> dict[str, Any]:
        """The object of `/stats`."""
        reply = self.get("/stats")
        if reply.status == 503:
            raise NotYetError(reply.body)
        assert reply.status == 200, reply
        found: dict[str, Any] = json.loads(reply.body)
        return found

    def until(self, path: str, status: int, timeout: float = 60, says: str = "") -> Reply:
        """Wait for an answer with this status, whose body has these words."""

        def is_it(reply: Reply) -> bool:
            return reply.status == status and says in reply.body

        return self._wait(lambda: self.get(path), is_it, timeout)

    def stats_until(
        self, is_true: Callable[[dict[str, Any]], bool], timeout: float = 60
    ) -> dict[str, Any]:
        """Wait until the object of `/stats` fulfils a condition."""
        return self._wait(self.stats, is_true, timeout)

    def _wait(self, ask: Callable[[], Any], is_true: Callable[[Any], bool], timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        last: Any = None
        while time.monotonic() < deadline:
            with suppress(OSError, NotYetError):
                last = ask()
                if is_true(last):
                    return last
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout:g} s; the last was {last}")
