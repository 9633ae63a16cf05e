"""The built-in rules: each finds the parts of a text that must not leave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import Final

from otel_queue_plugins.core.policy import credentials

Span = tuple[int, int]
Find = Callable[[str], Iterator[Span]]

CREDENTIALS: Final = "credentials"

_CARD_DIGITS: Final = range(13, 20)
# The look-behind lets a search begin once for each run of characters, not at each of them.
_EMAIL: Final = re.compile(r"(?<![\w.%+'-])[\w.%+'-]+@(?:[\w-]+\.)+[\w-]*[^\W_]")
_DIGITS: Final = re.compile(r"(?<![0-9])[0-9](?:[ .-]?[0-9]){12,}")
_DIGIT_GROUP: Final = re.compile(r"[0-9]+")
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4: Final = re.compile(rf"(?<![0-9.])(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9]|\.[0-9])")
_IPV6: Final = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*(?!\w)")
_PATH: Final = re.compile(
    r"(?<=[\"'])(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\"'\n]+"
    r"|(?<![\w/.:~])~?/[^\s/\"'`,;()<>|\[\]{}][^\s\"'`,;()<>|\[\]{}]*"
    r"|(?<!\w)(?:[A-Za-z]:[\\/](?!/)|\\\\(?=\w))[^\s\"'`,;()<>|\[\]{}]*"
)
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])",
    re.IGNORECASE,
)


def _matches(expression: re.Pattern[str], sign: str = "") -> Find:
    """The rule of one expression; only a text with `sign` in it can match."""

    def find(text: str) -> Iterator[Span]:
        if sign in text:
            for found in expression.finditer(text):
                yield found.span()

    return find


def _cards(text: str) -> Iterator[Span]:
    """Numbers of 13 to 19 digits, in groups or not, whose check digit is right (ISO/IEC 7812-1)."""
    for run in _DIGITS.finditer(text):
        groups = [each.span() for each in _DIGIT_GROUP.finditer(text, *run.span())]
        for first, (begin, _) in enumerate(groups):
            digits = ""
            for low, high in groups[first : first + _CARD_DIGITS.stop]:
                digits += text[low:high]
                if len(digits) in _CARD_DIGITS and digits[0] in "23456" and _has_check(digits):
                    yield begin, high


def _has_check(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number  # noqa: PLR2004 - the sum of its two digits
    return total % 10 == 0


def _addresses(text: str) -> Iterator[Span]:
    if "." in text:
        for found in _IPV4.finditer(text):
            yield found.span()
    if ":" in text:
        for found in _IPV6.finditer(text):
            address = found[0].rstrip(".")
            address = address if address.endswith("::") else address.rstrip(":")
            if _is_ipv6(address):
                yield found.start(), found.start() + len(address)


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False


BUILT_IN: Final[Mapping[str, Find]] = {
    CREDENTIALS: credentials.find,
    "email": _matches(_EMAIL, "@"),
    "card": _cards,
    "ip": _addresses,
    "path": _matches(_PATH),
    "uuid": _matches(_UUID),
}
