"""What is compared with what: packages, modes, and the targets they are held to."""

from __future__ import annotations

from typing import NamedTuple

MODES = ("nosdk", "on", "metrics", "ratio", "ratio+metrics", "otlp+metrics")
QUICK_MODES = ("nosdk", "on", "metrics", "ratio+metrics")

WIRE = "wire"
_ENVIRONMENTS = {"floor": "sdk", "core": "ours", "ours-api": "ours", "ours+relay": "ours"}
_WITHOUT_METRICS = ("nosdk", "on", "ratio")
_PEERS = {
    "celery": {
        "contrib": MODES,
        "ddtrace": ("on", "ratio"),
        "sentry": ("on", "ratio"),
    },
    "dramatiq": {
        "instrumentor": (*_WITHOUT_METRICS, "otlp+metrics"),
        "ddtrace": ("on",),
        "sentry": ("on", "ratio"),
        "prometheus": ("nosdk",),
    },
}


class Variant(NamedTuple):
    """One framework traced by one package in one mode."""

    framework: str
    package: str
    mode: str

    def __str__(self) -> str:
        return f"{self.framework} {self.package} {self.mode}"

    @property
    def environment(self) -> str:
        if self.mode == WIRE and self.package in {"contrib", "instrumentor"}:
            return f"{self.package}-wire"  # with an exporter that sends
        return _ENVIRONMENTS.get(self.package, self.package)


class Target(NamedTuple):
    """Ours may cost at most `limit` times what the other costs."""

    framework: str
    mode: str
    other: str
    other_mode: str
    limit: float


TARGETS = (
    Target("celery", "on", "contrib", "on", 0.60),
    Target("celery", "on", "ddtrace", "on", 0.30),
    Target("celery", "metrics", "contrib", "metrics", 0.75),
    Target("celery", "metrics", "ddtrace", "on", 0.40),
    Target("celery", "ratio+metrics", "contrib", "ratio+metrics", 0.65),
    Target("celery", "nosdk", "contrib", "nosdk", 0.30),
    *(Target("dramatiq", mode, "floor", mode, 1.10) for mode in MODES),
    Target("dramatiq", "nosdk", "instrumentor", "nosdk", 1.00),
    Target("dramatiq", "on", "instrumentor", "on", 1.00),
    Target("dramatiq", "metrics", "instrumentor", "on", 1.00),
    Target("dramatiq", "ratio", "instrumentor", "ratio", 1.00),
)


# What users run: with export, and with metrics where a package has them.
WIRE_PACKAGES = {
    "celery": ("plain", "contrib", "ddtrace", "ours", "ours+relay"),
    "dramatiq": ("plain", "instrumentor", "ddtrace", "ours"),
}
WIRE_TARGETS = (
    Target("celery", WIRE, "contrib", WIRE, 0.55),
    Target("celery", WIRE, "ddtrace", WIRE, 0.40),
    Target("dramatiq", WIRE, "instrumentor", WIRE, 0.60),
)


def plain(framework: str) -> Variant:
    """The framework alone."""
    return Variant(framework, "plain", "nosdk")


def all_variants(framework: str, modes: tuple[str, ...]) -> list[Variant]:
    """Every variant of `framework` in `modes`, the plain framework first."""
    packages = {
        "floor": MODES,
        **_PEERS[framework],
        "core": MODES,
        "ours-api": ("on", "metrics"),
        "ours": MODES,
    }
    return [plain(framework)] + [
        Variant(framework, package, mode)
        for package, supported in packages.items()
        for mode in supported
        if mode in modes
    ]
