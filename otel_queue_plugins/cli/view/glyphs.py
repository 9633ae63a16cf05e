"""The signs a picture is drawn with, for terminals that know Unicode and for those that do not."""

from __future__ import annotations

from typing import Final, NamedTuple


class Glyphs(NamedTuple):
    """`run` is a whole cell, `run_left` and `run_right` its halves."""

    run: str
    run_left: str
    run_right: str
    queued: str
    held: str
    scheduled: str
    child: str
    last_child: str
    passing: str
    event: str
    link: str
    levels: str
    rule: str
    between: str
    times: str
    ok: str
    failed: str
    ellipsis: str


UNICODE: Final = Glyphs(
    run="█",
    run_left="▌",
    run_right="▐",
    queued="░",
    held="▒",
    scheduled="·",
    child="├ ",
    last_child="└ ",
    passing="│ ",
    event="◆",
    link="↪",
    levels=" ▁▂▃▄▅▆▇█",
    rule="─",
    between=" · ",
    times="×",  # noqa: RUF001 - the sign that is meant
    ok="✔",
    failed="✘",
    ellipsis="…",
)

ASCII: Final = Glyphs(
    run="#",
    run_left="#",
    run_right="#",
    queued="-",
    held="=",
    scheduled=".",
    child="+ ",
    last_child="` ",
    passing="| ",
    event="*",
    link="->",
    levels=" .:-=+*%#",
    rule="-",
    between=", ",
    times="x",
    ok="ok",
    failed="!!",
    ellipsis="..",
)
