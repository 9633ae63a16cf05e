"""The version of the package, as its telemetry says it."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
