"""What to do about an export that fails, in words."""

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
# What speaks HTTP/2 and has not answered a request over HTTP/1 is most likely gRPC.
_PROTOCOLS: Final = {probing.HTTP1: HTTP, probing.HTTP2: GRPC, probing.TLS_HTTP2: GRPC}
_DEFAULT_PORTS: Final = {"https": 443}


RETRIED: Final = "telemetry goes on trying"
LOST: Final = "it is lost, the next is tried"
BROKEN: Final = "it is lost, and so is what follows until this is mended"


class Cause(NamedTuple):
    """One sentence without its end, and one of the above: what that means for the telemetry."""

    words: str
    meaning: str = BROKEN


_REFUSED: Final = "nothing listens there (connection refused)"


def correct_path(target: Target) -> str:
    """Nobody takes telemetry at the path of `target`."""
    path, own = urlsplit(target.endpoint).path.rstrip("/"), f"/v1/{target.signal}"
    if not path.endswith(own):
        return f"{target.named_by} is used as it is, so it has to end with {own}"
    if path.removesuffix(own).endswith(PATHS):
        return f"write {target.named_by} without /v1/..., which is appended for each signal"
    return f"nobody takes {target.signal} at this path; is this the endpoint of an OTLP receiver?"


def write_place(target: Target, place: str) -> str:
    """Telemetry has another place."""
    is_own = target.named_by.endswith(f"{target.signal.upper()}_ENDPOINT")
    place = place if is_own else place.removesuffix(f"/v1/{target.signal}")
    return f"write {shown(target, place)} in {target.named_by}"


def credentials(target: Target) -> str:
    """They are missing, or not accepted."""
    if not target.headers:
        return "it wants credentials, and OTEL_EXPORTER_OTLP_HEADERS is not set"
    sent = ", ".join(key for key, _ in target.headers)
    return f"it does not accept the credentials; {target.headers_by} sends {sent}"


def smaller_batches(target: Target) -> str:
    """What was sent is too large."""
    batch = {"traces": "OTEL_BSP", "logs": "OTEL_BLRP"}.get(target.signal)
    return f"lower {batch}_MAX_EXPORT_BATCH_SIZE" if batch else "there are too many series for it"


def trust(why: str) -> str:
    """A certificate is not trusted."""
    return (
        f"its certificate is not trusted{why}; OTEL_EXPORTER_OTLP_CERTIFICATE can name a file with "
        "the one to trust"
    )


def write_https(target: Target) -> str:
    """Plain text was sent to a port of TLS."""
    return f"this port speaks TLS; write https:// in {target.named_by}"


def write_http(target: Target) -> str:
    """TLS was sent to a port of plain text."""
    return f"this port does not speak TLS; write http:// in {target.named_by}"


def speaks(target: Target, protocol: str) -> str:
    """The port is one of the other protocol."""
    names = {GRPC: "gRPC", HTTP: "HTTP"}
    return (
        f"this port speaks {names[protocol]}, not {names[target.protocol]}; set "
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}, or use the port for {target.protocol}"
    )


def silent(target: Target) -> Cause:
    """There was no answer in time."""
    return Cause(f"no answer within {target.timeout:g} s", RETRIED)


def refused(target: Target) -> Cause:
    """One of the addresses of the host, or the only one, was not open."""
    return after_look(target, _REFUSED, RETRIED)


def closed(target: Target) -> Cause:
    """The connection was closed without an answer: the port may speak something else."""
    return after_look(target, "it closed the connection without an answer", RETRIED)


def after_look(target: Target, otherwise: str, meaning: str = BROKEN) -> Cause:
    """What the port speaks, if that is not what is sent to it; `otherwise` if it is, or unknown.

    Takes a second at most.
    """
    url = urlsplit(target.endpoint if "://" in target.endpoint else f"//{target.endpoint}")
    is_tls = url.scheme == "https" or not (url.scheme or target.insecure)
    port = url.port or _DEFAULT_PORTS.get(url.scheme, 80)
    spoken = probing.spoken_at(url.hostname or "", port)
    if is_tls and spoken in {probing.HTTP1, probing.HTTP2}:
        return Cause(write_http(target))
    if spoken in {probing.TLS, probing.TLS_HTTP2} and not is_tls:
        return Cause(write_https(target))
    other = _PROTOCOLS.get(spoken, target.protocol)
    if other != target.protocol:
        return Cause(speaks(target, other))
    return Cause(otherwise, meaning)


def shown(target: Target, text: str) -> str:
    """`text` of somebody else as part of a line: no secret of ours, not endless."""
    for _, value in target.headers:
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return without_secrets(text)[:_MOST_WORDS]
