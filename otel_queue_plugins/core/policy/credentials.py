"""The rule `credentials`: passwords, tokens and keys, by what stands before them or by their form.

Each expression is tried only where a fixed word of it stands, which is found much faster: most
texts have none of the words. From there it takes a bounded number of steps, or consumes what it
looks at.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Final

Span = tuple[int, int]
Tried = Callable[[str, int], "Span | None"]
"""Returns the secret of the word that stands at a place in a text; None if there is none."""

_ANY_CASE: Final = re.IGNORECASE | re.MULTILINE
# `password=x`, `"api_key": "x"`, `{\"token\": b'x'}`, `X-Api-Key: x`
_SIGN: Final = r"(?:\\{0,4}[\"'])?\s{0,8}(?:=>|:=|==|[:=])\s{0,8}"
_VALUE: Final = (
    r"[\[({]{0,3}(?:"
    r"[bru]{0,2}(?P<quote>\\{0,4}(?:\"{3}|'{3}|[\"']))(?P<quoted>.*?)(?:(?<!\\)(?=(?P=quote))|$)"
    r"|(?P<plain>(?:(?:basic|bearer|token|apikey|negotiate|ntlm)\s{1,8})?[^\s,;&]+))"
)
_ASSIGNED: Final = re.compile(rf"[\w.\[\]-]{{1,40}}?{_SIGN}{_VALUE}", _ANY_CASE)
_ASSIGNED_WORD: Final = re.compile(rf"(?:pass|sig)\b{_SIGN}{_VALUE}", _ANY_CASE)
# `--password x`, `-pass x`
_OPTION: Final = re.compile(rf"[\w-]{{1,40}}\s{_VALUE}", _ANY_CASE)
_DASHES: Final = re.compile(r"(?<![\w-])--?[\w-]{0,40}\Z")
_SQL: Final = re.compile(
    r"(?:identified\s+by|password)\s+(\\{0,4}['\"])(?P<it>.*?)(?:\1|$)", _ANY_CASE
)
_LINE: Final = re.compile(
    r"(?:digest\s+(?=\w+=)|aws4-hmac-sha256\s|cookie[\"']?\s{0,8}[:=]\s{0,8})(?P<it>.+)", _ANY_CASE
)
_USER_OF_URL: Final = re.compile(
    r"://(?P<it>[^\s:@/]{0,256}:\S{0,1024}(?=@)|[^\s/]{1,1024}(?=@))", _ANY_CASE
)
_USER_OF_HOST: Final = re.compile(r"(?<![\w@/:.+-])[\w.+-]{1,64}:[^\s:/@'\"]{1,256}\Z")
_HOST: Final = re.compile(r"@[\w.(-]")
_LONGEST_USER: Final = 325
_BEARER: Final = re.compile(r"\bbearer\s+(?P<it>[\w.~+/-]{8,}=*)", _ANY_CASE)
_BASIC: Final = re.compile(r"\bbasic\s+(?P<it>[A-Za-z0-9+/_-]{4,}={0,2})", _ANY_CASE)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----"
    r"(?:[^-]|-(?!----END))*(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_NO_TOKEN: Final = re.compile(r"token(?:s|iz)", _ANY_CASE)
_KINDS_OF_KEY: Final = re.compile(
    r"(?:api|access|account|private|shared|signing|encryption|master|ssh|app|auth)[_. -]?\Z"
)
_LONGEST_KIND: Final = 11
# By the beginning of a token, in lower case.
_FORMS: Final = {
    "eyj": r"eyJ[\w-]{8,1024}\.[\w-]{8,}(?:\.[\w-]*)*",  # JSON Web Token
    **dict.fromkeys(("akia", "asia", "aroa", "aida"), r"\bA(?:KI|SI|RO|ID)A[0-9A-Z]{16}\b"),  # AWS
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_\w{20,}"),
    "github_pat_": r"github_pat_\w{20,}",
    "glpat-": r"glpat-[\w-]{20,}",
    "xox": r"xox[abeoprs]-[\w-]{10,}",  # Slack
    "xapp-": r"xapp-[\w-]{10,}",
    **dict.fromkeys(("sk_", "rk_", "pk_"), r"\b[spr]k_(?:live|test)_\w{10,}"),  # Stripe
    "whsec_": r"\bwhsec_\w{10,}",
    "sk-": r"\bsk-[\w-]{20,}",  # OpenAI
    "aiza": r"\bAIza[\w-]{30,}",  # Google
    "ya29.": r"\bya29\.[\w-]{20,}",
    "sg.": r"\bSG\.[\w-]{16,}\.[\w-]{16,}",
    "npm_": r"\bnpm_\w{30,}",
    "pypi-": r"\bpypi-[\w-]{30,}",
    "hvs.": r"\bhvs\.\w{20,}",  # Vault
}
_CAPITALS: Final = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}


def find(text: str) -> Iterator[Span]:
    """The parts of `text` that are credentials; they may overlap."""
    lowered = text.lower()
    if len(lowered) != len(text):  # of a few letters the small one is two characters
        lowered = text.translate(_CAPITALS)
    for word, tried in _TRIED:
        at = lowered.find(word)
        while at >= 0:
            for each in tried:
                found = each(text, at)
                if found is not None:
                    yield found
            at = lowered.find(word, at + 1)


def _by(expression: re.Pattern[str]) -> Tried:
    def tried(text: str, at: int) -> Span | None:
        found = expression.match(text, at)
        return None if found is None else found.span(found.lastgroup or 0)

    return tried


def _option(text: str, at: int) -> Span | None:
    """The value of an option of a command that begins before `at`."""
    return _by(_OPTION)(text, at) if _DASHES.search(text[max(0, at - 43) : at]) else None


def _key(text: str, at: int) -> Span | None:
    """What is assigned to a key of a kind that is secret, and not to any `key`."""
    kind = text[max(0, at - _LONGEST_KIND) : at].lower()
    if _KINDS_OF_KEY.search(kind) is None:
        return None
    return _option(text, at) or _by(_ASSIGNED)(text, at)


def _user_of_host(text: str, at: int) -> Span | None:
    """User and password before the `@` at `at`, where no URL begins with them."""
    if _HOST.match(text, at) is None:
        return None
    begin = max(0, at - _LONGEST_USER)
    found = _USER_OF_HOST.search(text[begin:at])
    return None if found is None else (begin + found.start(), at)


def _basic(text: str, at: int) -> Span | None:
    """`user:password` in base 64, and not a word after the word `basic`."""
    found = _BASIC.match(text, at)
    if found is None:
        return None
    encoded = found["it"]
    try:
        is_pair = b":" in b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_")
    except ValueError:
        return None
    return found.span("it") if is_pair else None


def _token(text: str, at: int) -> Span | None:
    """What is assigned to a token, but not to a number of `tokens`."""
    if _NO_TOKEN.match(text, at):
        return None
    return _option(text, at) or _by(_ASSIGNED)(text, at)


_NAMED: Final = (_by(_ASSIGNED), _option)
_TRIED: Final[tuple[tuple[str, tuple[Tried, ...]], ...]] = (
    ("password", (*_NAMED, _by(_SQL))),
    *((word, _NAMED) for word in ("passwd", "passphrase", "passcode", "pwd", "secret")),
    *((word, _NAMED) for word in ("credential", "authorization", "cookie", "signature")),
    ("token", (_token,)),
    ("key", (_key,)),
    ("pass", (_by(_ASSIGNED_WORD),)),
    ("sig", (_by(_ASSIGNED_WORD),)),
    ("identified", (_by(_SQL),)),
    *((word, (_by(_LINE),)) for word in ("digest", "aws4-", "cookie")),
    ("://", (_by(_USER_OF_URL),)),
    ("@", (_user_of_host,)),
    ("bearer", (_by(_BEARER),)),
    ("basic", (_basic,)),
    ("-----begin", (_by(_PRIVATE_KEY),)),
    *((begin, (_by(re.compile(form)),)) for begin, form in _FORMS.items()),
)
