"""The web application of the shop: it answers at once, and the worker does the work."""

from __future__ import annotations

import uuid

from celery import chain
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from tasks import ask_for_review, charge_card, send_receipt

app = FastAPI()
FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


@app.post("/orders", status_code=202)
def order(cents: int = 1250) -> dict[str, str]:
    """Accept an order and send its tasks."""
    number = uuid.uuid4().hex[:8]
    chain(charge_card.s(number, cents), send_receipt.s()).delay()
    ask_for_review.apply_async((number,), countdown=2)
    return {"order": number}
