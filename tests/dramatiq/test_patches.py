"""The table of patches fits the installed Dramatiq, and is applied when Dramatiq is imported."""

from __future__ import annotations

import subprocess
import sys
from functools import reduce
from importlib import import_module
from typing import Any

import pytest

from otel_queue_plugins.core.patching import Patch
from otel_queue_plugins.dramatiq import patches
from tests.processes import clean_environment

ROWS = [
    pytest.param(place, name, row, id=f"{place} {name}")
    for place, rows in (
        ("dramatiq.broker:Broker", patches.of_broker(print, print)),
        *patches.of_groups(print).items(),
        *patches.of_all_brokers(print).items(),
        *patches.of_pika(print).items(),
    )
    for name, row in rows.items()
]
PROGRAM = """
import sys, threading
from otel_queue_plugins.dramatiq.instrumentor import DramatiqInstrumentor
{body}
from dramatiq.brokers.stub import StubBroker
print([type(each).__name__ for each in StubBroker().middleware].count("OpenTelemetryMiddleware"))
"""


@pytest.mark.parametrize(("place", "name", "row"), ROWS)
def test_each_row_names_existing_function(place: str, name: str, row: Patch) -> None:
    """A function that is missing is passed over silently, and so would be a typo."""
    module, _, path = place.partition(":")
    pytest.importorskip(module)
    owner: Any = reduce(getattr, path.split("."), import_module(module))
    assert row.why
    assert callable(vars(owner)[name])


ONCE_MORE = """
ours = DramatiqInstrumentor()
ours.instrument()
ours.uninstrument()
ours.instrument()
"""
# Another thread is in the middle of the import: the module is there, its class is not.
IN_THE_MIDDLE = """
import importlib.machinery, otel_queue_plugins.sdk
begun, go_on = threading.Event(), threading.Event()
execute = importlib.machinery.SourceFileLoader.exec_module

def slowly(self, module):
    if module.__name__ == "dramatiq.broker":
        begun.set()
        go_on.wait(20)
    execute(self, module)

importlib.machinery.SourceFileLoader.exec_module = slowly
importing = threading.Thread(target=__import__, args=("dramatiq",))
importing.start()
assert begun.wait(20)
instrumenting = threading.Thread(target=DramatiqInstrumentor().instrument)
instrumenting.start()
assert not hasattr(sys.modules["dramatiq.broker"], "Broker")
go_on.set()
for each in (importing, instrumenting):
    each.join(20)
    assert not each.is_alive()
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("DramatiqInstrumentor().instrument(); import dramatiq", 1),
        ("import dramatiq; DramatiqInstrumentor().instrument()", 1),
        ("DramatiqInstrumentor().instrument(); DramatiqInstrumentor().instrument()", 1),
        ("DramatiqInstrumentor().instrument(); DramatiqInstrumentor().uninstrument()", 0),
        (ONCE_MORE, 1),
        (IN_THE_MIDDLE, 1),
    ],
    ids=["before", "after", "twice", "taken back", "once more", "in the middle"],
)
def test_import_of_dramatiq_at_any_time_instruments_brokers_once(body: str, expected: int) -> None:
    """Each broker gets one middleware, and none after `uninstrument`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


def test_other_imports_are_unchanged_while_waiting_for_dramatiq() -> None:
    """A module keeps its own loader; a missing one raises the usual exception."""
    program = (
        "from otel_queue_plugins.dramatiq.instrumentor import DramatiqInstrumentor\n"
        "DramatiqInstrumentor().instrument()\n"
        "import colorsys\n"
        "assert type(colorsys.__loader__).__name__ == 'SourceFileLoader'\n"
        "try:\n    import no_such_package\n"
        "except ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("no_such_package\n", "")
