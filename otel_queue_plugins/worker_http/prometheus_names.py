"""Names of OpenTelemetry as Prometheus has them.

OpenTelemetry's specification, "Prometheus and OpenMetrics Compatibility".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "kBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_:]+")
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9_]")


def family(name: str, unit: str, kind: str) -> tuple[str, str]:
    """The name of a metric family, and its unit, with which the name ends then."""
    text = _NOT_IN_NAMES.sub("_", name)
    text = re.sub("_+", "_", text).strip("_")
    text = f"_{text}" if text[:1].isdigit() else text
    if kind == "counter":
        text = text.removesuffix("_total")
    suffix = "ratio" if unit == "1" and kind == "gauge" else _unit(unit)
    if suffix and not text.endswith(f"_{suffix}"):
        text = f"{text}_{suffix}"
    return text, suffix


def labels(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The labels for `attributes`; values of equal names are joined by a semicolon."""
    found: dict[str, str] = {}
    for key, value in attributes:
        name = _NOT_IN_LABELS.sub("_", key)
        name = f"key_{name}" if name[:1].isdigit() else name
        found[name] = f"{found[name]};{value}" if name in found else value
    return found


def _unit(unit: str) -> str:
    top, _, bottom = _ANNOTATION.sub("", unit).strip().partition("/")
    per = f"per_{_PER.get(bottom, _plain(bottom))}" if bottom else ""
    whole = "" if top == "1" else _UNITS.get(top, _plain(top))
    return "_".join(part for part in (whole, per) if part)


def _plain(text: str) -> str:
    return re.sub("_+", "_", _NOT_IN_LABELS.sub("_", text)).strip("_")
