"""URLs of brokers as people may see them."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"//[^/?#]*@")


def without_password(url: str) -> str:
    """`url` with the user's name at most: no password, no query. Of several URLs the first.

    Whatever it is that looks like a user and a password is taken away, also where the rest is no
    valid URL (passwords with `/` or `#` that nobody has quoted).
    """
    first = url.partition(";")[0]
    scheme, separator, rest = first.partition("://")
    if not separator:
        scheme, rest = "", first
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0] if at and _is_plain(credentials) else ""
    shown = f"{user}@{place}" if user else place
    return f"{scheme}{separator}{shown}".partition("?")[0].partition("#")[0]


def _is_plain(credentials: str) -> bool:
    """Whether a name before the password can be told apart: key-value brokers put keys there."""
    return _CREDENTIALS.fullmatch(f"//{credentials}@") is not None and ":" in credentials
