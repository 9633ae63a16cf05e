"""What web servers do to their processes: forks, reloads, recipes, and a collector that hangs.

On Redis alone: a web process is the same for every broker.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import pages as pages_of_docs
from tests.brokers import web, zero_code
from tests.brokers.telemetry_cases import LATER, SENT, in_log_of_ours
from tests.processes import wait_for_end
from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.brokers.harness import Lab
    from tests.brokers.web import Page

RECIPE, PRELOAD = ("-c", f"python:{web.APPS}.gunicorn_recipe"), ("--preload",)
INSTANCE = "service.instance.id"
AT_IMPORT = {"RECORD_AT_IMPORT": "yes"}
# Without the bound an exporter goes on for 90 s.
BOUND_S, SLACK_S = 1.0, 29.0
BOUNDS = {"OTEL_QUEUE_FLUSH_TIMEOUT": str(BOUND_S), "OTEL_EXPORTER_OTLP_TIMEOUT": "90"}

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def expect_pages(lab: Lab, pages: list[Page], *, service: str = "web") -> None:
    """Check that each page is a server span with the send as its child, both of that service."""
    for page in pages:
        server, send = lab.receiver.expect_trace(page.trace_id, 2, timeout=30, settle=0)
        assert (server.kind, send.kind) == ("server", "producer")
        assert send.parent_id == server.span_id
        assert {server.service, send.service} == {service}


@pytest.mark.parametrize("arguments", [(), PRELOAD], ids=["not preloaded", "preloaded"])
def test_server_before_first_request_sets_up_nothing(
    arguments: tuple[str, ...], own_lab: Lab
) -> None:
    """No thread and no connection in any of its processes."""
    server = web.gunicorn(web.FLASK, "--no-control-socket", *arguments, sends_with="celery")
    site = web.start(own_lab, server)
    site.process.wait_for_log("app is imported", count=1 if arguments else server.processes)
    site.process.wait_for_log("Booting worker", count=server.processes)
    pids = [site.process.pid, *site.process.children()]
    assert [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids] == [1, 1, 1]
    assert own_lab.receiver.requests() == []
    assert site.process.stop() == 0
    assert own_lab.receiver.requests() == []


@pytest.mark.parametrize(
    ("recipe", "env", "preload"),
    [
        pytest.param((), AT_IMPORT, (), id="no recipe"),
        pytest.param((), AT_IMPORT, PRELOAD, id="no recipe, preloaded"),
        pytest.param(RECIPE, {}, (), id="recipe"),
        pytest.param(RECIPE, {}, PRELOAD, id="recipe, preloaded"),
        pytest.param(RECIPE, AT_IMPORT, PRELOAD, id="recipe, preloaded and recorded"),
    ],
)
def test_provider_set_in_post_fork_gets_spans(
    recipe: tuple[str, ...], env: dict[str, str], preload: tuple[str, ...], own_lab: Lab
) -> None:
    """Metrics are those of the environment.

    What the main process recorded before arrives once, from the main process.
    """
    server = web.gunicorn(web.FLASK, *recipe, *preload, sends_with="celery")
    site = web.start(own_lab, server, {**LATER, **env})
    pages = site.get_from_all("send", server.processes)
    assert site.process.stop() == 0
    expect_pages(own_lab, pages, service="recipe" if recipe else "web")
    own_lab.receiver.expect_total(SENT, len(pages), timeout=30)
    assert {point.service for point in own_lab.receiver.latest_points(SENT)} == {"web"}
    imports = (1 if preload else server.processes) if env else 0
    own_lab.receiver.expect_total("app.imports", imports, timeout=30)
    assert sum(span.name == "import" for span in own_lab.receiver.spans()) == imports
    assert in_log_of_ours(site.process.log) == []


@pytest.mark.parametrize(
    ("distro", "arguments", "returncode"),
    [
        pytest.param(True, (), -15, id="distribution"),
        pytest.param(False, (), -15, id="no distribution"),
        pytest.param(True, ("--workers", "2"), 0, id="distribution, two workers"),
    ],
)
def test_uvicorn_with_zero_code_exports_all(
    distro: bool, arguments: tuple[str, ...], returncode: int, own_lab: Lab
) -> None:
    """No line in the app, whoever sets up the SDK: the same spans, and none lost at the end."""
    if distro:
        zero_code.install_distro(own_lab.directory)
    server = web.uvicorn(*arguments, sends_with="celery", processes=2 if arguments else 1)
    env = {**LATER, "ZERO_CODE": "yes", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "celery,redis"}
    site = web.start(own_lab, server, env, launcher=zero_code.launcher())
    pages = site.get_from_all("send", server.processes)
    assert site.process.stop() == returncode
    for page in pages:
        spans = own_lab.receiver.trace(page.trace_id)
        (root,) = [span for span in spans if span.kind == "server"]
        (send,) = [span for span in spans if span.kind == "producer"]
        assert send.parent_id == root.span_id
    own_lab.receiver.expect_total(SENT, len(pages), timeout=30)


@pytest.mark.parametrize(("name", "loads"), [("uWSGI", 1), ("uWSGI, lazy apps", 2)])
def test_uwsgi_keeps_its_signals_and_loses_nothing_at_graceful_end(
    name: str, loads: int, own_lab: Lab
) -> None:
    """HUP and TERM restart its workers, INT ends it.

    TERM and INT kill a worker that is in a request, and run no code in it.
    """
    server = web.SERVERS[name].without(*web.GRACEFULLY)
    site = web.start(own_lab, server, LATER)
    pages = site.get_from_all("send", server.processes)
    for life, number in enumerate((signal.SIGHUP, signal.SIGTERM), 2):
        workers = site.process.children()
        site.process.send_signal(number)
        wait_for_end(*workers, timeout=30)
        if number == signal.SIGHUP:
            expect_pages(own_lab, pages)
            own_lab.receiver.expect_total(SENT, len(pages), timeout=30)
        site.process.wait_for_log("pawned uWSGI worker", count=life * server.processes)
        # A worker that is interrupted while it loads the app goes on without one.
        site.process.wait_for_log(r"WSGI app 0 .* ready", count=life * loads)
        assert site.get("quiet").pid not in workers
    assert site.process.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "imports"),
    [
        pytest.param((), 0, id="no hooks"),
        pytest.param(("--py-call-osafterfork",), 0, id="half of the hooks"),
        pytest.param(("--py-call-uwsgi-fork-hooks",), 1, id="hooks"),
    ],
)
def test_uwsgi_worker_exports_for_itself_after_fork(
    arguments: tuple[str, ...], imports: int, own_lab: Lab
) -> None:
    """Each exports while it runs, under its own instance id, and counts for itself alone.

    uWSGI forks without Python's hooks by default: what the main process records is left out.
    """
    server = web.SERVERS["uWSGI"].with_more(*arguments)
    site = web.start(own_lab, server, AT_IMPORT)
    pages = site.get_from_all("send", server.processes)
    expect_pages(own_lab, pages)
    own_lab.receiver.expect_total(SENT, len(pages))
    own_lab.receiver.expect_total("app.imports", imports)
    assert sum(span.name == "import" for span in own_lab.receiver.spans()) == imports
    instances = {point.resource[INSTANCE] for point in own_lab.receiver.latest_points(SENT)}
    assert len(instances) == server.processes
    site.process.stop()


def test_uwsgi_with_settings_of_page_ends_at_sigterm_without_loss(own_lab: Lab) -> None:
    """The settings are those of the how-to."""
    settings = pages_of_docs.block("how-to/web-processes", "ini", "[uwsgi]")
    file = own_lab.directory / "uwsgi.ini"
    file.write_text(settings.replace("shop.wsgi:application", web.FLASK))
    command = ("uwsgi", "--http-socket", "127.0.0.1:{port}", "--ini", str(file))
    site = web.start(own_lab, web.Server(command=command, sends_with="dramatiq"), LATER)
    pages = site.get_from_all("send", 2)
    assert site.process.stop(signal.SIGTERM) == 0
    expect_pages(own_lab, pages)
    own_lab.receiver.expect_total(SENT, len(pages), timeout=30)


@pytest.mark.parametrize(
    "name",
    ["gunicorn sync", "gunicorn uvicorn", "uvicorn", "uWSGI", "hypercorn", "python app.py"],
)
def test_server_with_hanging_collector_ends_within_bound(name: str, own_lab: Lab) -> None:
    """The bound is OTEL_QUEUE_FLUSH_TIMEOUT; the return code is the same."""
    server = web.SERVERS[name]
    site = web.start(own_lab, server, {**LATER, **BOUNDS})
    site.get_from_all("send", server.processes)
    own_lab.receiver.fault = Fault.HANG
    began = time.monotonic()
    assert site.process.stop(signal.SIGTERM) == server.returncode
    assert time.monotonic() - began < BOUND_S + SLACK_S


def test_uvicorn_interrupted_with_ctrl_c_loses_nothing(own_lab: Lab) -> None:
    """SIGINT is what Ctrl-C sends."""
    server = web.SERVERS["uvicorn"]
    site = web.start(own_lab, server, LATER)
    pages = site.get_from_all("send", server.processes)
    site.process.stop(signal.SIGINT)
    expect_pages(own_lab, pages)
    own_lab.receiver.expect_total(SENT, len(pages), timeout=30)
