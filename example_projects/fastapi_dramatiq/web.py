"""The web application: it takes events and answers at once. It plays the subscribers, too."""

from __future__ import annotations

import uuid

from actors import deliver
from fastapi import FastAPI, Request, Response
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

app = FastAPI()
FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])

SUBSCRIBERS = ("billing", "search")
seen: set[str] = set()


@app.post("/events", status_code=202)
def publish(kind: str, request: Request) -> dict[str, str]:
    """Accept an event and send a message for each subscriber."""
    event = {"id": uuid.uuid4().hex[:8], "kind": kind}
    for name in SUBSCRIBERS:
        deliver.send(event, str(request.url_for("receive", name=name)))
    return event


@app.post("/subscribers/{name}")
def receive(name: str, event: dict[str, str]) -> Response:
    """Be a subscriber: `billing` is busy when it first sees an event, `search` is gone."""
    if name == "search":
        return Response(status_code=410)
    is_new = event["id"] not in seen
    seen.add(event["id"])
    return Response(status_code=503 if is_new else 204)
