"""Certificates, and TLS on one side alone."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.sdk.config.targets import names

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case
    from otel_queue_plugins.sdk.config.targets import Target


def tls(case: Case) -> Iterator[Finding]:
    """The files are certificates, and both sides speak TLS, or neither does."""
    found = list(problems.findings(case, "tls"))
    for target in case.targets():
        found.extend(_of_target(case, target))
    by_text: dict[tuple[str, str], Finding] = {(each.what, each.fix): each for each in found}
    yield from by_text.values()


def _of_target(case: Case, target: Target) -> Iterator[Finding]:
    is_plain = target.insecure or target.endpoint.startswith("http://")
    files = [_wrong_certificate(target), _wrong_client(target)]
    if any(files):
        yield from (each for each in files if each)
        return
    answer = case.export(target.signal)
    if answer and not answer.ok and ("TLS" in answer.words or "certificate" in answer.words):
        yield broken(f"{target.signal}: {answer.words}", answer.fix)
    elif is_plain and target.certificate:
        name = _variable(case, target, "CERTIFICATE")
        yield unknown(f"{name} is not used: the endpoint is not https", f"unset {name}")
    elif is_plain:
        return
    elif answer is None:
        yield unknown(f"{target.signal}: over TLS; the certificate was not asked for")
    elif answer.is_answered:
        trusted = target.certificate or "the usual authorities"
        yield fine(f"{target.signal}: the certificate is trusted, by {trusted}")
    else:
        yield unknown(f"{target.signal}: over TLS, but there was no answer")


def _wrong_certificate(target: Target) -> Finding | None:
    if target.certificate is None:
        return None
    try:
        ssl.create_default_context(cafile=target.certificate)
    except (ssl.SSLError, OSError):
        name = names(target.signal, "CERTIFICATE")[1]
        return broken(f"{target.certificate} has no certificate", f"{name}=/path/of/ca.pem")
    return None


def _wrong_client(target: Target) -> Finding | None:
    if target.client_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # A key with a password would ask for it on the terminal.
        context.load_cert_chain(target.client_certificate, target.client_key, password=str)
    except (ssl.SSLError, OSError):
        variables = (names(target.signal, each)[1] for each in ("CLIENT_CERTIFICATE", "CLIENT_KEY"))
        return broken(
            "the client's certificate and its key do not belong together, or are none",
            " and ".join(variables),
        )
    return None


def _variable(case: Case, target: Target, suffix: str) -> str:
    own, general = names(target.signal, suffix)
    return own if case.value(own) else general
