"""The session of `requests` for OTLP exporters over HTTP."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import requests

from otel_queue_plugins.sdk.diagnosis import export_calls
from otel_queue_plugins.sdk.diagnosis.export_calls import Answer

_MOST_OF_BODY = 500
_REDIRECTED = range(300, 400)


class Session(requests.Session):
    """Trusts the given certificate, and gives each attempt's result to the current export call.

    The certificate wins over REQUESTS_CA_BUNDLE, other than in the base class. A redirect is an
    error here: the exporter would take it for success, and the data would not arrive.
    """

    def __init__(self, certificate: str | None = None) -> None:
        super().__init__()
        self._certificate = certificate

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As the base class, but with the given certificate."""
        settings = super().merge_environment_settings(*args, **kwargs)
        return {**settings, "verify": self._certificate} if self._certificate else settings

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Make one attempt. Raises as the base class does, and RequestException for a redirect."""
        call = export_calls.current()
        kwargs["allow_redirects"] = False  # credentials are for one host
        try:
            response = super().request(*args, **kwargs)
        except Exception as error:
            if call is not None:
                call.failed(error)
            raise
        if call is not None:
            call.answered(_answer(response))
        if response.status_code in _REDIRECTED:
            raise requests.RequestException("the endpoint redirects", response=response)
        return response


def _answer(response: requests.Response) -> Answer:
    return Answer(
        status=response.status_code,
        reason=response.reason or "",
        location=response.headers.get("location", ""),
        body="" if response.ok else _words(response)[:_MOST_OF_BODY],
    )


def _words(response: requests.Response) -> str:
    """The body as text. OTLP has the words of an error in a message of `google.rpc.Status`."""
    if "protobuf" in response.headers.get("content-type", ""):
        with suppress(Exception):  # that of a proxy, which may be anything
            status: Any = import_module("google.rpc.status_pb2").Status
            return str(status.FromString(response.content).message)
    return response.content[: 4 * _MOST_OF_BODY].decode("utf-8", "replace")
