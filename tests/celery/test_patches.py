"""The tables of patches fit the Celery that is installed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from celery import Celery, __version__
from celery.app import trace
from celery.concurrency import prefork

from otel_queue_plugins.celery import patches
from otel_queue_plugins.core.patching import Patch, is_in
from tests.celery.conftest import instrumenting, memory_app, running

if TYPE_CHECKING:
    from otel_queue_plugins.core.patching import Table

TABLES: dict[str, Table] = {
    "every process": patches.of_every_process(MagicMock()),
    "main process": patches.of_main_process(MagicMock(), MagicMock()),
    "prefork": patches.of_prefork(MagicMock()),
    "threads": patches.of_threads(MagicMock()),
    "polls": patches.of_polls(MagicMock()),
    "batches": patches.of_batches(MagicMock()),
}
ROWS = [
    pytest.param(place, name, row, id=f"{table}: {place} {name}")
    for table, places in TABLES.items()
    for place, rows in places.items()
    for name, row in rows.items()
]


@pytest.mark.parametrize(("place", "name", "row"), ROWS)
def test_patch_names_a_function_of_its_version(place: str, name: str, row: Patch) -> None:
    """A function that a version does not have is skipped silently, and so would be a typo."""
    module, _, path = place.partition(":")
    package = pytest.importorskip(module.partition(".")[0])
    assert package is not None
    owner: Any = reduce(getattr, path.split(".") if path else [], import_module(module))
    assert row.why
    if is_in(row, __version__):
        assert callable(getattr(owner, name))
        assert not isinstance(owner, type) or name in vars(owner)


def test_patched_functions_are_pickled_by_name() -> None:
    """A pool that spawns its processes pickles them; there they are what is there."""
    with instrumenting():
        pickled = pickle.dumps([trace.build_tracer, prefork.process_initializer])
        built, started = pickle.loads(pickled)  # noqa: S301 - from the line above
        assert built is trace.build_tracer
        assert started is prefork.process_initializer
    program = (
        "import pickle, sys; from celery.app import trace; "
        "assert pickle.loads(sys.stdin.buffer.read())[0] is trace.build_tracer"
    )
    subprocess.run([sys.executable, "-c", program], input=pickled, check=True, timeout=60)


def test_patched_method_of_app_is_pickled() -> None:
    """As methods are, also if their class is patched."""
    app = memory_app()
    with instrumenting():
        found = pickle.loads(pickle.dumps(app.send_task))  # noqa: S301 - from this very line
    assert isinstance(found.__self__, Celery)


def one() -> int:
    """The body of a task."""
    return 1


def test_kept_tracer_after_uninstrument_makes_no_span() -> None:
    """Also one that Celery built while its tasks were traced."""
    app = memory_app()
    task = app.task(shared=False, name="add")(one)
    with instrumenting() as telemetry:
        tracer = trace.build_tracer("add", task, app=app)
    assert tracer("an id", (), {}).retval == 1
    assert not telemetry.spans()


def test_uninstrument_removes_send_of_signals() -> None:
    """Signals of a worker have a `send` of their own while it is traced, and none after."""
    signals = [
        reduce(getattr, place.partition(":")[2].split("."), import_module("celery.signals"))
        for place in TABLES["main process"]
        if place.startswith("celery.signals:")
    ]
    with instrumenting(), running(memory_app()):
        assert all("send" in vars(signal) for signal in signals)
    assert not [signal for signal in signals if "send" in vars(signal)]
