"""A Flask app that is instrumented before what it sends with is.

`RECORD_AT_IMPORT`: it counts, and traces, its import.
"""

from __future__ import annotations

import os
import sys

from flask import Flask
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor

from tests.brokers.apps.answers import answer
from tests.brokers.apps.sender import instrument_app, send

app = Flask("shop")
FlaskInstrumentor().instrument_app(app)
instrument_app()
if os.environ.get("RECORD_AT_IMPORT"):
    metrics.get_meter("shop").create_counter("app.imports").add(1)
    trace.get_tracer("shop").start_span("import").end()
sys.stdout.write("app is imported\n")
sys.stdout.flush()


@app.get("/send")
def order() -> dict[str, object]:
    """Send a message."""
    send()
    return answer()


@app.get("/quiet")
def quiet() -> dict[str, object]:
    """Send nothing."""
    return answer()
