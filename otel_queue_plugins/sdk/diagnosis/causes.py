"""Find the cause of a failed export: from an answer, an exception or a status code."""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from http.client import BadStatusLine
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.config.targets import GRPC, HTTP
from otel_queue_plugins.sdk.diagnosis import remedies
from otel_queue_plugins.sdk.diagnosis.remedies import LOST, RETRIED, Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_queue_plugins.sdk.config.targets import Target
    from otel_queue_plugins.sdk.diagnosis.export_calls import Answer, ExportCall

    _Remedy = Callable[[Target], str]

_RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
_REMEDY_OF_STATUS: Final[dict[int, _Remedy]] = {
    HTTPStatus.NOT_FOUND: remedies.correct_path,
    HTTPStatus.METHOD_NOT_ALLOWED: remedies.correct_path,
    HTTPStatus.UNAUTHORIZED: remedies.credentials,
    HTTPStatus.FORBIDDEN: remedies.credentials,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: remedies.smaller_batches,
}
_RETRIED_CODES: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE"}
    | {"UNAVAILABLE", "DATA_LOSS"}
)
_NOT_TLS: Final = (
    *("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"),
)
_CLOSED: Final = (
    *("ConnectionResetError", "RemoteDisconnected", "SSLEOFError", "BrokenPipeError"),
    *("Socket closed", "Connection reset", "Stream removed", "GOAWAY", "Broken pipe"),
)


def cause_of(call: ExportCall) -> Cause:
    """Why the last attempt of `call` failed. May connect to the port, for a second at most."""
    target = call.target
    if call.answer is not None:
        return _of_answer(target, call.answer)
    if call.error is not None:
        return _of_error(target, call.error)
    if call.code:
        return _of_code(target, call.code, call.details)
    return Cause(remedies.without_headers(target, call.text) or "no answer yet", RETRIED)


def _of_answer(target: Target, answer: Answer) -> Cause:
    words = f"answered {answer.status} {without_secrets(answer.reason)}".rstrip()
    if answer.status in _RETRIED_STATUSES:
        return Cause(words, RETRIED)
    if answer.location:
        return Cause(f"{words}, a redirect: {remedies.write_place(target, answer.location)}")
    if answer.status == HTTPStatus.BAD_REQUEST and "HTTPS" in answer.body:
        return Cause(f"{words}: {remedies.write_https(target)}")
    remedy = _REMEDY_OF_STATUS.get(answer.status)
    return Cause(f"{words}: {remedy(target)}") if remedy else Cause(words, LOST)


def _of_error(target: Target, error: BaseException) -> Cause:
    chain = list(_chain(error))
    for each in chain:
        if (cause := _of_single_error(target, each)) is not None:
            return cause
    names = " ".join(type(each).__name__ for each in chain)
    if "Timeout" in names:
        return remedies.no_answer(target)
    if any(name in names for name in _CLOSED):
        return remedies.closed(target)
    words = f"{type(error).__name__}: {remedies.without_headers(target, str(error))}"
    return Cause(words, RETRIED)


def _of_single_error(target: Target, error: Any) -> Cause | None:
    if isinstance(error, BadStatusLine) and not isinstance(error, ConnectionResetError):
        return Cause(_not_http(target, error))
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(remedies.trust(f" ({error.verify_message})"))
    if isinstance(error, ssl.SSLError) and (error.reason or "") in _NOT_TLS:
        return Cause(remedies.write_http(target))
    if isinstance(error, socket.gaierror):
        return Cause(f"its name cannot be resolved ({error.strerror})", RETRIED)
    return remedies.refused(target) if isinstance(error, ConnectionRefusedError) else None


def _not_http(target: Target, error: Any) -> str:
    """What the server speaks, by the first bytes it sent in place of a status line."""
    first = str(error.line).strip("'\"")
    if first.startswith(("\x15\x03", "\\x15\\x03")):  # a TLS alert
        return remedies.write_https(target)
    if first.startswith(("\0\0", "\\x00\\x00")):  # a frame of HTTP/2
        return remedies.other_protocol(target, GRPC)
    return "it does not speak HTTP"


def _of_code(target: Target, code: str, details: str) -> Cause:
    for parts, cause in _CAUSES_OF_DETAILS:
        if any(part in details for part in parts):
            return cause(target)
    if code in _REMEDY_OF_CODE:
        return Cause(f"answered {code}: {_REMEDY_OF_CODE[code](target)}")
    if code == "DEADLINE_EXCEEDED":
        return remedies.no_answer(target)
    words = f"answered {code}: {remedies.without_headers(target, details)}"
    return Cause(words, RETRIED if code in _RETRIED_CODES else LOST)


def _other_service(target: Target) -> str:
    return (
        f"it speaks gRPC and takes no {target.signal} over OTLP; another receiver or another port "
        "may"
    )


_REMEDY_OF_CODE: Final[dict[str, _Remedy]] = {
    "UNAUTHENTICATED": remedies.credentials,
    "PERMISSION_DENIED": remedies.credentials,
    "UNIMPLEMENTED": _other_service,
}


def _is_http(target: Target) -> Cause:
    return remedies.probe(target, remedies.other_protocol(target, HTTP))


# Parts of gRPC's texts about a connection that failed: the code is UNAVAILABLE for all of them. If
# a host has several addresses, the text is about one of them.
_CAUSES_OF_DETAILS: Final[tuple[tuple[tuple[str, ...], Callable[[Target], Cause]], ...]] = (
    (("http1", "ALPN", "SETTINGS frame", "http2 header with status"), _is_http),
    (("CERTIFICATE_VERIFY_FAILED",), lambda _: Cause(remedies.trust(""))),
    (_NOT_TLS, lambda target: Cause(remedies.write_http(target))),
    (("Connection refused",), remedies.refused),
    (("DNS", "Domain name"), lambda _: Cause("its name cannot be resolved", RETRIED)),
    (_CLOSED, remedies.closed),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, its causes, and the exceptions among their arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        related = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting += [cause for cause in related if isinstance(cause, BaseException)]
