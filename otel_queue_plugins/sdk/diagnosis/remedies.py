"""Words for log lines: what to do about a failed export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.config.targets import GRPC, HTTP, PATHS
from otel_queue_plugins.sdk.diagnosis import probing

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.targets import Target

_MOST_WORDS: Final = 200
_SHORTEST_SECRET: Final = 4
_SHORTEST_TOKEN: Final = 8
# A server that speaks HTTP/2, and does not answer HTTP/1, is most likely gRPC.
_PROTOCOLS: Final = {probing.HTTP1: HTTP, probing.HTTP2: GRPC, probing.TLS_HTTP2: GRPC}
_DEFAULT_PORTS: Final = {"https": 443}


RETRIED: Final = "telemetry goes on trying"
LOST: Final = "it is lost, the next is tried"
BROKEN: Final = "it is lost, and so is what follows until this is mended"


class Cause(NamedTuple):
    """The cause in words, without a full stop, and its effect: one of the three above."""

    words: str
    effect: str = BROKEN


_REFUSED: Final = "nothing listens there (connection refused)"


def correct_path(target: Target) -> str:
    """For a path at which the server takes no telemetry."""
    path, own = urlsplit(target.endpoint).path.rstrip("/"), f"/v1/{target.signal}"
    if not path.endswith(own):
        return f"{target.named_by} is used as it is, so it has to end with {own}"
    if path.removesuffix(own).endswith(PATHS):
        return f"write {target.named_by} without /v1/..., which is appended for each signal"
    return f"nobody takes {target.signal} at this path; is this the endpoint of an OTLP receiver?"


def write_place(target: Target, place: str) -> str:
    """For a redirect to `place`."""
    is_own = target.named_by.endswith(f"{target.signal.upper()}_ENDPOINT")
    place = place if is_own else place.removesuffix(f"/v1/{target.signal}")
    return f"write {without_headers(target, place)} in {target.named_by}"


def credentials(target: Target) -> str:
    """For credentials that are missing or not accepted."""
    if not target.headers:
        return "it wants credentials, and OTEL_EXPORTER_OTLP_HEADERS is not set"
    sent = ", ".join(key for key, _ in target.headers)
    return f"it does not accept the credentials; {target.headers_by} sends {sent}"


def smaller_batches(target: Target) -> str:
    """For a request that is too large."""
    batch = {"traces": "OTEL_BSP", "logs": "OTEL_BLRP"}.get(target.signal)
    return f"lower {batch}_MAX_EXPORT_BATCH_SIZE" if batch else "there are too many series for it"


def trust(why: str) -> str:
    """For a certificate that is not trusted; `why` is in parentheses or ""."""
    return (
        f"its certificate is not trusted{why}; OTEL_EXPORTER_OTLP_CERTIFICATE can name a file with "
        "the one to trust"
    )


def write_https(target: Target) -> str:
    """For plain text sent to a port that speaks TLS."""
    return f"this port speaks TLS; write https:// in {target.named_by}"


def write_http(target: Target) -> str:
    """For TLS sent to a port that speaks plain text."""
    return f"this port does not speak TLS; write http:// in {target.named_by}"


def other_protocol(target: Target, protocol: str) -> str:
    """For a port that speaks `protocol`, which is not that of `target`."""
    names = {GRPC: "gRPC", HTTP: "HTTP"}
    return (
        f"this port speaks {names[protocol]}, not {names[target.protocol]}; set "
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}, or use the port for {target.protocol}"
    )


def no_answer(target: Target) -> Cause:
    """For a timeout."""
    return Cause(f"no answer within {target.timeout:g} s", RETRIED)


def refused(target: Target) -> Cause:
    """For a refused connection, which with several addresses may be that of one only."""
    return probe(target, _REFUSED, RETRIED)


def closed(target: Target) -> Cause:
    """For a connection that was closed without an answer."""
    return probe(target, "it closed the connection without an answer", RETRIED)


def probe(target: Target, otherwise: str, effect: str = BROKEN) -> Cause:
    """Find out whether the port speaks another protocol than `target`. Takes a second at most.

    If not, or if that cannot be found out, the cause is `otherwise` with `effect`.
    """
    url = urlsplit(target.endpoint if "://" in target.endpoint else f"//{target.endpoint}")
    is_tls = url.scheme == "https" or not (url.scheme or target.insecure)
    port = url.port or _DEFAULT_PORTS.get(url.scheme, 80)
    spoken = probing.protocol_at(url.hostname or "", port)
    if is_tls and spoken in {probing.HTTP1, probing.HTTP2}:
        return Cause(write_http(target))
    if spoken in {probing.TLS, probing.TLS_HTTP2} and not is_tls:
        return Cause(write_https(target))
    other = _PROTOCOLS.get(spoken, target.protocol)
    if other != target.protocol:
        return Cause(other_protocol(target, other))
    return Cause(otherwise, effect)


def without_headers(target: Target, text: str) -> str:
    """`text` of a server or library, shortened and without secrets and values of our headers."""
    for _, value in target.headers:
        # A server may repeat the token of `Bearer TOKEN` alone.
        parts = [part for part in value.split() if len(part) >= _SHORTEST_TOKEN]
        for secret in [value] * (len(value) >= _SHORTEST_SECRET) + parts:
            text = text.replace(secret, "***")
    return without_secrets(text)[:_MOST_WORDS]
