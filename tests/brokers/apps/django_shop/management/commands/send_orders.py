"""`python -m django send_orders`: a command with a span of its own."""

from __future__ import annotations

import time

from django.core.management import BaseCommand
from opentelemetry import trace

from tests.brokers.apps.sender import send


class Command(BaseCommand):
    """Sends three messages; with `--stay` it waits for somebody to stop it."""

    def add_arguments(self, parser: object) -> None:
        """Its one option."""
        parser.add_argument("--stay", action="store_true")  # type: ignore[attr-defined]

    def handle(self, *, stay: bool, **_: object) -> None:
        """Send."""
        with trace.get_tracer("shop").start_as_current_span("send_orders"):
            for number in range(3):
                send(number)
        self.stdout.write("orders are sent")
        if stay:
            time.sleep(60)
