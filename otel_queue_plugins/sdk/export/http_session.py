"""The session of `requests` that an OTLP exporter over HTTP uses."""

from __future__ import annotations

from typing import Any

import requests

from otel_queue_plugins.sdk.export import export_calls
from otel_queue_plugins.sdk.export.export_calls import Answer

_MOST_OF_BODY = 500
_REDIRECTED = range(300, 400)


class Session(requests.Session):
    """Trusts the given certificate, and tells the shipment under way how each attempt went.

    A session of requests prefers REQUESTS_CA_BUNDLE to the certificate it was given. A redirect is
    a failure: what is sent does not arrive, whatever the exporter makes of it.
    """

    def __init__(self, certificate: str | None = None) -> None:
        super().__init__()
        self._certificate = certificate

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As the base class does, but for the certificate."""
        settings = super().merge_environment_settings(*args, **kwargs)
        return {**settings, "verify": self._certificate} if self._certificate else settings

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """One attempt. Raises as the base class does, and for a redirect."""
        shipment = export_calls.current()
        kwargs["allow_redirects"] = False  # a key to one host is none to another
        try:
            response = super().request(*args, **kwargs)
        except Exception as error:
            if shipment is not None:
                shipment.failed(error)
            raise
        if shipment is not None:
            shipment.answered(_answer(response))
        if response.status_code in _REDIRECTED:
            raise requests.RequestException("the endpoint redirects", response=response)
        return response


def _answer(response: requests.Response) -> Answer:
    body = b"" if response.ok else response.content[:_MOST_OF_BODY]
    return Answer(
        status=response.status_code,
        reason=response.reason or "",
        location=response.headers.get("location", ""),
        body=body.decode("utf-8", "replace"),
    )
