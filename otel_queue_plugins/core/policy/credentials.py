"""The rule `credentials`: passwords, tokens and keys, by what stands before them or by their form.

Each expression here costs a bounded number of steps for each character: what repeats without a
bound is consumed by the match, or begins at a fixed word.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Final

Span = tuple[int, int]

_LINES: Final = re.IGNORECASE | re.MULTILINE

_NAME: Final = (
    r"(?:pass(?:word|wd|phrase|code)|\bpass\b|pwd|secret|token(?!s|iz)|credential|authorization"
    r"|cookie|\bsig\b|signature"
    r"|(?:api|access|account|private|shared|signing|encryption|master|ssh|app|auth)[_. -]?key)"
)
# `password=x`, `"api_key": "x"`, `{\"token\": b'x'}`, `X-Api-Key: x`, `--password x`, `-pass x`
_NAMED: Final = re.compile(
    rf"(?:{_NAME}[\w.\[\]-]{{0,40}}(?:\\{{0,4}}[\"'])?\s{{0,8}}(?:=>|:=|==|[:=])\s{{0,8}}"
    rf"|(?<![\w-])--?[\w-]{{0,40}}{_NAME}\s)"
    r"[\[({]{0,3}(?:"
    r"[bru]{0,2}(?P<quote>\\{0,4}(?:\"{3}|'{3}|[\"']))(?P<quoted>.*?)(?:(?<!\\)(?=(?P=quote))|$)"
    r"|(?P<plain>(?:(?:basic|bearer|token|apikey|negotiate|ntlm)\s{1,8}"
    r"|[^\s,;&]{1,256}[:=]\s{1,8}){0,4}[^\s,;&]+))",
    _LINES,
)
_SQL: Final = re.compile(r"(?:identified\s+by|password)\s+(['\"])(?P<it>.*?)(?:\1|$)", _LINES)
_LINE: Final = re.compile(
    r"(?:\bdigest\s+(?=\w+=)|aws4-hmac-sha256\s|cookie[\"']?\s{0,8}[:=]\s{0,8})(?P<it>.+)",
    re.IGNORECASE,
)
_OF_URL: Final = re.compile(
    r"(?<=://)(?:[^\s:@/]{0,256}:\S{0,1024}(?=@)|[^\s/]{1,1024}(?=@))"
    r"|(?<![\w@/:.+-])[\w.+-]{1,64}:[^\s:/@'\"]{1,256}(?=@[\w.(-])"
)
_BEARER: Final = re.compile(r"\bbearer\s+(?P<it>[\w.~+/-]{8,}=*)", re.IGNORECASE)
_BASIC: Final = re.compile(r"\bbasic\s+(?P<it>[A-Za-z0-9+/_-]{4,}={0,2})", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----"
    r"(?:[^-]|-(?!----END))*(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_BY_FORM: Final = re.compile(
    r"eyJ[\w-]{8,1024}\.[\w-]{8,}(?:\.[\w-]*)*"  # JSON Web Token
    r"|\b(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}\b"  # AWS
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
    r"|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}"  # Slack
    r"|\b[spr]k_(?:live|test)_\w{10,}|\bwhsec_\w{10,}"  # Stripe
    r"|\bsk-[\w-]{20,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"  # OpenAI, Google
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bnpm_\w{30,}|\bpypi-[\w-]{30,}|\bhvs\.\w{20,}"
)
_EXPRESSIONS: Final = (_NAMED, _SQL, _LINE, _OF_URL, _BEARER, _PRIVATE_KEY, _BY_FORM)
# In lower case. A text without any of these has no credentials, and most texts have none.
_SIGNS: Final = (
    *("pass", "pwd", "secret", "token", "credential", "authorization", "cookie", "sig", "key"),
    *("identified", "digest", "aws4-", "://", "@", "bearer", "basic", "-----begin"),
    *("eyj", "akia", "asia", "aroa", "aida", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat"),
    *("glpat", "xox", "xapp", "k_live", "k_test", "sk-", "aiza", "ya29", "sg.", "npm_", "pypi-"),
    "hvs.",
)


def find(text: str) -> Iterator[Span]:
    """The parts of `text` that are credentials; they may overlap."""
    lowered = text.lower()
    for sign in _SIGNS:  # a third of the time of `any`
        if sign in lowered:
            break
    else:
        return
    for expression in _EXPRESSIONS:
        for found in expression.finditer(text):
            yield found.span(found.lastgroup or 0)
    for found in _BASIC.finditer(text):
        if _is_user_and_password(found["it"]):
            yield found.span("it")


def _is_user_and_password(encoded: str) -> bool:
    """Whether this is `user:password` in base 64, and not a word after the word `basic`."""
    try:
        return b":" in b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_")
    except ValueError:
        return False
