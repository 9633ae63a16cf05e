"""The web application of the shop: it answers at once, and the worker does the work."""

from __future__ import annotations

import uuid

from actors import ask_for_review, charge_card, print_label, send_receipt
from flask import Flask, request
from opentelemetry.instrumentation.flask import FlaskInstrumentor

app = Flask(__name__)
FlaskInstrumentor().instrument_app(app)


@app.post("/orders")
def order() -> tuple[dict[str, str], int]:
    """Accept an order and send its tasks."""
    number = uuid.uuid4().hex[:8]
    cents = request.args.get("cents", 1250, type=int)
    (charge_card.message(number, cents) | send_receipt.message()).run()
    print_label.send(number, request.args.get("street", ""))
    ask_for_review.send_with_options(args=(number,), delay=2000)
    return {"order": number}, 202
