"""The how-to about web frameworks, run as written: a request, a real Redis, a worker, OTLP.

On Redis alone: what the page says does not depend on the broker.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests import pages
from tests.brokers.harness import App
from tests.brokers.written import TASK, start, write
from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


DJANGO_SETTINGS = """
SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["shop"]
MIDDLEWARE = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
"""
DJANGO_URLS = """
from django.http import HttpResponse
from django.urls import path
from shop.tasks import charge


def create(request, order):
    charge.delay_on_commit(order)
    return HttpResponse()


urlpatterns = [path("orders/<int:order>", create)]
"""
DJANGO_TASKS = """
from celery import shared_task


@shared_task(name="shop.charge")
def charge(order): ...
"""
SERVERS = {
    "django": ("celery", ["-m", "django", "runserver", "--noreload"]),
    "fastapi": ("celery", ["-m", "uvicorn", "web:app", "--port"]),
    "flask": ("dramatiq", ["-m", "flask", "--app", "web", "run", "--port"]),
}


@pytest.mark.parametrize("web", SERVERS)
def test_request_of_each_framework_is_one_trace_to_end_of_task(web: str, own_lab: Lab) -> None:
    """The request, the send and the delivery are in one trace."""
    for module in (web, f"opentelemetry.instrumentation.{web}"):
        pytest.importorskip(module)
    framework, command = SERVERS[web]
    app = write_django(own_lab) if web == "django" else write_web(own_lab, web, framework)
    port = str(free_port())
    env = {"DJANGO_SETTINGS_MODULE": "shop.settings"} if web == "django" else {}
    server = own_lab.processes.start(
        web,
        [sys.executable, *command, port],
        env=own_lab.env("web", app, env),
        cwd=own_lab.directory,
    )
    start(own_lab, framework, app, env)
    ask(f"http://127.0.0.1:{port}/orders/42", server, "GET" if web == "django" else "POST")

    process = own_lab.receiver.expect_span(f"process {TASK[framework]}")
    request, send, _ = own_lab.receiver.expect_trace(process.trace_id, 3)
    assert (request.kind, request.parent_id) == ("server", "")
    assert (send.kind, send.parent_id) == ("producer", request.span_id)
    assert process.parent_id == send.span_id


def write_web(lab: Lab, web: str, framework: str) -> App:
    """Write the page's `web.py` beside the tutorial's `shop.py`."""
    write(lab, pages.block("how-to/producers", "python", f"from {web} import"), "web")
    return write(lab, pages.block(f"tutorial/{framework}", "python", "def charge"))


def write_django(lab: Lab) -> App:
    """Write the page's `celery.py` and `wsgi.py`, and the least that Django needs beside them."""
    for name, code in {
        "__init__": "from shop.celery import app\n",
        "celery": pages.block("how-to/producers", "python", "app = Celery("),
        "wsgi": pages.block("how-to/producers", "python", "DjangoInstrumentor"),
        "settings": DJANGO_SETTINGS,
        "urls": DJANGO_URLS,
        "tasks": DJANGO_TASKS,
    }.items():
        write(lab, code, f"shop/{name}")
    return App(module="shop", queue=lab.broker.queue)


def ask(url: str, server: ManagedProcess, method: str) -> None:
    """Send one request, as soon as the server listens."""
    deadline = time.monotonic() + 60
    while not listens(urlsplit(url).port or 0):
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.02)
    request = urllib.request.Request(url, method=method)
    urllib.request.urlopen(request, timeout=20).close()


def listens(port: int) -> bool:
    """Return whether a server listens on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_message_sent_in_thread_with_copied_context_is_in_trace_of_request(own_lab: Lab) -> None:
    """The code of the page copies the context into the thread."""
    app = write(own_lab, pages.block("tutorial/celery", "python", "def charge"))
    write(own_lab, pages.block("how-to/producers", "python", "copy_context"), "later")
    producer = own_lab.producer(app)
    sent = producer.run("import later; later.send_later(42)")
    (send,) = own_lab.receiver.expect_trace(sent.trace_id, 1)
    assert (send.name, send.parent_id) == ("send shop.charge", sent.span_id)
