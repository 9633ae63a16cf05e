"""RabbitMQ's management API: what AMQP does not tell. Only ever asked at a URL somebody named."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from otel_queue_plugins.brokers.formats.values import mapping, number, text
from otel_queue_plugins.brokers.urls import without_password

MAX_BYTES: Final = 8_000_000

_PORTS: Final = {"http": 15672, "https": 15671}
_FORBIDDEN: Final = (401, 403)
_OK: Final = 200
_COLUMNS: Final = ("type", "arguments", "effective_policy_definition", "head_message_timestamp")


class ManagementError(Exception):
    """It did not answer, or not as it should; the text has where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many messages of a queue wait and are held; None where the answer lacks it."""

    ready: int | None
    unacked: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What it says of one queue. `policy` are the settings that policies give it.

    `policy` is None where statistics are off, and the API says nothing of it.
    `head_timestamp` is the AMQP time stamp of the oldest message, None if it has none.
    """

    kind: str | None
    arguments: Mapping[str, object] = field(default_factory=dict)
    policy: Mapping[str, object] | None = None
    head_timestamp: float | None = None


class Management:
    """The API at `url`. Without a user in the URL it is asked as `user`; certificates are checked.

    Each request takes `timeout` seconds at most for each of its steps. Proxies of the environment
    are not used: the password goes where the URL says and nowhere else.
    """

    def __init__(self, url: str, *, user: str, password: str, vhost: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{without_password(url)} is not an http or https URL")
        self._secure = parts.scheme == "https"
        self._place = (parts.hostname, parts.port or _PORTS[parts.scheme])
        self._path = parts.path.rstrip("/")
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}
        self._vhost = quote(vhost, safe="")
        self._timeout = timeout

    def totals(self) -> dict[str, Totals]:
        """All queues of the virtual host. The query also works where statistics are off."""
        path = f"queues/{self._vhost}?disable_stats=true&enable_queue_totals=true"
        found = self._get(path)
        rows = [mapping(each) for each in found] if isinstance(found, list) else []
        return {
            str(row.get("name")): Totals(
                ready=number(row.get("messages_ready")),
                unacked=number(row.get("messages_unacknowledged")),
            )
            for row in rows
        }

    def details(self, queue: str) -> Details:
        """One queue. The time stamp may be that of a message which is gone if none is ready."""
        name, columns = quote(queue, safe=""), ",".join(_COLUMNS)
        row = mapping(self._get(f"queues/{self._vhost}/{name}?columns={columns}"))
        policy = row.get("effective_policy_definition")
        return Details(
            kind=text(row.get("type")),
            arguments=mapping(row.get("arguments")),
            policy=policy if isinstance(policy, Mapping) else None,
            head_timestamp=number(row.get("head_message_timestamp")),
        )

    def bound(self, exchange: str) -> list[tuple[str, str]]:
        """Routing key and queue of each binding of an exchange."""
        path = f"exchanges/{self._vhost}/{quote(exchange, safe='')}/bindings/source"
        found = self._get(path)
        rows = [mapping(each) for each in found] if isinstance(found, list) else []
        return [
            (text(row.get("routing_key")) or "", str(row.get("destination")))
            for row in rows
            if row.get("destination_type") == "queue"
        ]

    def _get(self, path: str) -> Any:
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(*self._place, timeout=self._timeout)
        try:
            connection.request("GET", f"{self._path}/api/{path}", headers=self._headers)
            with connection.getresponse() as answer:
                document, status = answer.read(MAX_BYTES + 1), answer.status
        except (OSError, HTTPException) as error:
            raise ManagementError(self._said(str(error) or type(error).__name__)) from error
        finally:
            connection.close()
        return self._parsed(status, document)

    def _parsed(self, status: int, document: bytes) -> Any:
        if status in _FORBIDDEN:
            raise ManagementError(self._said("the user needs the tag `management`"))
        if status != _OK:
            raise ManagementError(self._said(f"HTTP {status}"))
        try:
            return json.loads(document)
        except ValueError as error:
            raise ManagementError(self._said("no JSON, or too much of it")) from error

    def _said(self, what: str) -> str:
        return f"the management API at {self._place[0]}:{self._place[1]} gave no answer: {what}"
