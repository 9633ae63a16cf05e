"""How the documentation is built: `tox -e docs`."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

project = "otel_queue_plugins"
author = "The otel_queue_plugins authors"
version = release = version_of("otel-queue-plugins")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = "otel_queue_plugins"
myst_heading_anchors = 3

# Docstrings quote code as Markdown does: `like this`.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

# Each name that the reference mentions has a page, on this site or on another one.
nitpicky = True
# What options of these types are made from is said where they are.
nitpick_ignore_regex = [
    ("py:class", r"(otel_queue_plugins\..+\.)?(Redaction|ArgumentPath|Rule|_Function)")
]
# The few names of others that we mention are in text files here instead of being fetched: the build
# asks no server, and is the same on every machine. A name that is in none of them fails it.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "opentelemetry": (
        "https://opentelemetry-python.readthedocs.io/en/latest",
        "inventories/opentelemetry.txt",
    ),
    "celery": ("https://docs.celeryq.dev/en/stable", "inventories/celery.txt"),
    "dramatiq": ("https://dramatiq.io", "inventories/dramatiq.txt"),
}

# The name that a class is documented by, where autodoc has that of the module it is defined in, or
# only what an annotation says.
_PUBLIC_NAMES = {
    "Broker": "dramatiq.Broker",
    "MeterProvider": "opentelemetry.metrics.MeterProvider",
    "TracerProvider": "opentelemetry.trace.TracerProvider",
    "celery.app.base.Celery": "celery.Celery",
    "dramatiq.broker.Broker": "dramatiq.Broker",
    "opentelemetry.metrics._internal.MeterProvider": "opentelemetry.metrics.MeterProvider",
}


def _use_public_name(_app: Any, _env: Any, node: Any, _content: Any) -> None:
    """Correct the target of a reference before intersphinx looks for it."""
    target = node.get("reftarget")
    node["reftarget"] = _PUBLIC_NAMES.get(target, target)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", _use_public_name, priority=400)
