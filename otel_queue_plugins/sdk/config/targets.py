"""Read where and how one signal is sent over OTLP, as the specification has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from otel_queue_plugins.sdk.config.installed import is_importable
from otel_queue_plugins.sdk.config.reader import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.reader import Environment

GRPC = "grpc"
HTTP = "http/protobuf"
_DEFAULT_ENDPOINT = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
# OTLP's own ports: an exporter cannot understand what the other protocol answers there.
_PORT_OF_THE_OTHER = {HTTP: 4317, GRPC: 4318}
_OTHER = {HTTP: GRPC, GRPC: HTTP}
_PACKAGES = {
    GRPC: (
        "opentelemetry-exporter-otlp-proto-grpc",
        ("grpc", "opentelemetry.exporter.otlp.proto.grpc"),
    ),
    HTTP: (
        "opentelemetry-exporter-otlp-proto-http",
        ("requests", "opentelemetry.exporter.otlp.proto.http"),
    ),
}
PATHS = tuple(f"/v1/{signal}" for signal in SIGNALS)
_TLS_PORTS = frozenset({443, 8443})
_GENERAL = "OTEL_EXPORTER_OTLP_ENDPOINT"
_DEFAULT_TIMEOUT = 10.0
_LEAST_MILLISECONDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The OTLP destination of one signal.

    `timeout` is in seconds, `insecure` is for gRPC only. `named_by` and `headers_by` are the names
    of the variables that endpoint and headers come from.
    """

    signal: str
    protocol: str
    endpoint: str
    insecure: bool
    headers: tuple[tuple[str, str], ...]
    timeout: float
    compression: str
    certificate: str | None
    client_key: str | None
    client_certificate: str | None
    named_by: str
    headers_by: str


def names(signal: str, suffix: str) -> tuple[str, str]:
    """The names of two variables: the signal's own, and the general one."""
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}", f"OTEL_EXPORTER_OTLP_{suffix}"


def is_named(environment: Environment, signal: str) -> bool:
    """Whether the environment names an endpoint for `signal`."""
    return bool(environment.value(*names(signal, "ENDPOINT")))


def is_silenced(environment: Environment, signal: str) -> bool:
    """Whether the signal's own endpoint is set to the empty string, which switches it off."""
    return environment.is_set_but_empty(names(signal, "ENDPOINT")[0])


def read_target(environment: Environment, signal: str, protocol: str = "") -> Target:
    """Read the destination of `signal`; problems are added to `environment.problems`."""
    protocol = protocol or _protocol(environment, signal)
    _check_installed(environment, signal, protocol)
    endpoint, insecure = _endpoint(environment, signal, protocol)
    client_key = environment.file(names(signal, "CLIENT_KEY"), signal)
    client_certificate = environment.file(names(signal, "CLIENT_CERTIFICATE"), signal)
    if client_key and not environment.value(*names(signal, "CLIENT_CERTIFICATE")):
        name, _ = environment.text(*names(signal, "CLIENT_KEY"))
        environment.reject(name, f"set {name.replace('KEY', 'CERTIFICATE')} too", signal)
    return Target(
        signal=signal,
        protocol=protocol,
        endpoint=endpoint,
        insecure=insecure,
        headers=_headers(environment, signal),
        timeout=_timeout(environment, signal),
        compression=_compression(environment, signal, protocol),
        certificate=environment.file(names(signal, "CERTIFICATE"), signal),
        client_key=client_key,
        client_certificate=client_certificate,
        named_by=environment.text(*names(signal, "ENDPOINT"))[0] or names(signal, "ENDPOINT")[1],
        headers_by=environment.text(*names(signal, "HEADERS"))[0],
    )


def _protocol(environment: Environment, signal: str) -> str:
    return environment.choice(names(signal, "PROTOCOL"), (HTTP, GRPC), signal) or HTTP


def _check_installed(environment: Environment, signal: str, protocol: str) -> None:
    package, modules = _PACKAGES[protocol]
    if all(is_importable(module) for module in modules):
        return
    name, _ = environment.text(*names(signal, "PROTOCOL"), f"OTEL_{signal.upper()}_EXPORTER")
    fix = f"pip install {package}, or use {_OTHER[protocol]}"
    environment.reject(name or names(signal, "PROTOCOL")[1], fix, signal, value=protocol)


def _compression(environment: Environment, signal: str, protocol: str) -> str:
    allowed = ("none", "gzip") if protocol == GRPC else ("none", "gzip", "deflate")
    return environment.choice(names(signal, "COMPRESSION"), allowed, signal) or "none"


def _endpoint(environment: Environment, signal: str, protocol: str) -> tuple[str, bool]:
    own, general = names(signal, "ENDPOINT")
    name, endpoint = environment.text(own, general)
    endpoint = endpoint or _DEFAULT_ENDPOINT[protocol]
    _check_endpoint(environment, signal, protocol, name or general, endpoint)
    insecure = endpoint.startswith("http://")
    if protocol == GRPC:
        return endpoint, insecure or ("://" not in endpoint and _is_insecure(environment, signal))
    if name != own:
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return endpoint, insecure


def _is_insecure(environment: Environment, signal: str) -> bool:
    return environment.specified_flag(*names(signal, "INSECURE"), signals=(signal,))


def _check_endpoint(
    environment: Environment, signal: str, protocol: str, name: str, endpoint: str
) -> None:
    try:
        url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = url.port
    except ValueError:
        environment.reject(name, "this is no URL; write http://host:port", signal, value=endpoint)
        return
    if "://" not in endpoint and protocol == HTTP:
        environment.reject(
            name, f"write the scheme too: http://{endpoint} or https://{endpoint}", signal
        )
    elif "://" in endpoint and url.scheme not in {"http", "https"}:
        environment.reject(name, "the scheme must be http or https", signal)
    elif not url.hostname:
        environment.reject(name, "the host is missing; write http://host:port", signal)
    elif url.scheme == "https" and _is_insecure(environment, signal):
        insecure, _ = environment.text(*names(signal, "INSECURE"))
        environment.reject(
            insecure, f"contradicts {name}={endpoint}; unset it, or write http://", signal
        )
    elif url.scheme == "http" and port in _TLS_PORTS:
        environment.reject(name, f"port {port} speaks TLS; write https://", signal)
    elif port == _PORT_OF_THE_OTHER[protocol]:
        _warn_of_port(environment, signal, protocol, name)
    elif protocol == HTTP and name == _GENERAL and url.path.rstrip("/").endswith(PATHS):
        environment.warn(name, "/v1/... is appended for each signal; write it without", signal)


def _warn_of_port(environment: Environment, signal: str, protocol: str, name: str) -> None:
    wrong, right = _PORT_OF_THE_OTHER[protocol], _PORT_OF_THE_OTHER[_OTHER[protocol]]
    environment.warn(
        name,
        f"port {wrong} is mostly {_OTHER[protocol]}, not {protocol}; "
        f"use port {right}, or OTEL_EXPORTER_OTLP_PROTOCOL={_OTHER[protocol]}",
        signal,
    )


def _timeout(environment: Environment, signal: str) -> float:
    """The timeout in seconds: a value of 100 or more is taken as milliseconds.

    The specification has milliseconds, the Python SDK seconds. Neither a timeout under 100 ms nor
    one over 100 s is of use.
    """
    name, _ = environment.text(*names(signal, "TIMEOUT"))
    number = environment.number(name, signal, at_least=0, whole=False) if name else None
    if not number:
        return _DEFAULT_TIMEOUT
    return number / 1000 if number >= _LEAST_MILLISECONDS else number


def _headers(environment: Environment, signal: str) -> tuple[tuple[str, str], ...]:
    """Pairs with lower-case names. Values may have spaces and `=`, plain or percent-encoded."""
    name, raw = environment.text(*names(signal, "HEADERS"))
    pairs = [part.partition("=") for part in raw.split(",") if part.strip()]
    for number, (key, equals, value) in enumerate(pairs, 1):
        if not equals or not _is_token(key.strip()) or not _is_one_line(unquote(value)):
            environment.reject(
                name,
                f"entry {number} is not key=value; several are separated by "
                "commas, and a comma in a value is written %2C",
                signal,
                value="...",
            )
            return ()
    return tuple((key.strip().lower(), unquote(value.strip())) for key, _, value in pairs)


def _is_token(key: str) -> bool:
    """Whether `key` may be the name of a header (RFC 9110 section 5.1)."""
    return bool(key) and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in key)


def _is_one_line(value: str) -> bool:
    return value.isascii() and value.replace("\t", " ").isprintable()
