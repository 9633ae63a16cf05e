"""A FastAPI app; `ZERO_CODE` leaves instrumenting it to `opentelemetry-instrument`."""

from __future__ import annotations

import os

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from tests.brokers.apps.answers import answer
from tests.brokers.apps.sender import instrument_app, send

app = FastAPI()
if not os.environ.get("ZERO_CODE"):
    instrument_app()
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


@app.get("/send")
def order() -> dict[str, object]:
    """Send a message, in a thread of the server's pool."""
    send()
    return answer()


@app.get("/quiet")
async def quiet() -> dict[str, object]:
    """Send nothing."""
    return answer()
