"""Web servers of a lab: start one, request pages, and see which of its processes answered."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import find_binary, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

NEEDED = (
    "django",
    "fastapi",
    "flask",
    "gunicorn",
    "hypercorn",
    "uvicorn_worker",
    "opentelemetry.instrumentation.django",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.flask",
)
APPS = "tests.brokers.apps"
FLASK, FASTAPI = f"{APPS}.web_flask:app", f"{APPS}.web_fastapi:app"
DJANGO = f"{APPS}.django_shop.wsgi:application"
_GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "--graceful-timeout", "5")
_UWSGI = ("--http-socket", "127.0.0.1:{port}", "--master", "-p", "2", "--enable-threads")
# By default SIGTERM starts its workers anew; with `die-on-term` it kills those in a request.
GRACEFULLY = ("--hook-master-start", "unix_signal:15 gracefully_kill_them_all")
_TOGETHER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a web server is started, how many processes answer, and how it ends at SIGTERM.

    `returncode` is its return code without this package, as measured.
    """

    command: tuple[str, ...]
    sends_with: str
    processes: int = 1
    returncode: int = 0
    env: Mapping[str, str] = field(default_factory=dict)

    def with_more(self, *arguments: str) -> Server:
        """Return the same server with more arguments at the end."""
        return replace(self, command=(*self.command, *arguments))

    def without(self, *arguments: str) -> Server:
        """Return the same server without some arguments."""
        left = tuple(each for each in self.command if each not in arguments)
        return replace(self, command=left)


def gunicorn(app: str, *arguments: str, sends_with: str, processes: int = 2) -> Server:
    """Return gunicorn with that many workers."""
    command = (*_GUNICORN, "-w", str(processes), *arguments, app)
    return Server(command=command, sends_with=sends_with, processes=processes)


def uvicorn(*arguments: str, sends_with: str, processes: int = 1) -> Server:
    """Return uvicorn: alone it dies of the signal, with several workers it ends by itself.

    The supervisor would kill workers that take more than 5 s to import the app.
    """
    options = ("--port", "{port}", "--timeout-worker-healthcheck", "60")
    command = ("-m", "uvicorn", *options, *arguments, FASTAPI)
    returncode = -15 if processes == 1 else 0
    return Server(
        command=command, sends_with=sends_with, processes=processes, returncode=returncode
    )


SERVERS: Mapping[str, Server] = {
    "gunicorn sync": gunicorn(FLASK, sends_with="celery"),
    "gunicorn sync, preloaded": gunicorn(FLASK, "--preload", sends_with="dramatiq"),
    "gunicorn gthread": gunicorn(DJANGO, "--threads", "2", sends_with="dramatiq"),
    "gunicorn gthread, preloaded": gunicorn(
        DJANGO, "--threads", "2", "--preload", sends_with="celery"
    ),
    "gunicorn gevent": gunicorn(FLASK, "-k", "gevent", sends_with="dramatiq"),
    "gunicorn asgi": gunicorn(FASTAPI, "-k", "asgi", sends_with="celery"),
    "gunicorn uvicorn": gunicorn(
        FASTAPI, "-k", "uvicorn_worker.UvicornWorker", sends_with="dramatiq"
    ),
    "uvicorn": uvicorn(sends_with="celery"),
    "uvicorn, two workers": uvicorn("--workers", "2", sends_with="dramatiq", processes=2),
    "uWSGI": Server(
        command=("uwsgi", *_UWSGI, *GRACEFULLY, "--module", FLASK),
        sends_with="celery",
        processes=2,
    ),
    "uWSGI, lazy apps": Server(
        command=("uwsgi", *_UWSGI, *GRACEFULLY, "--lazy-apps", "--module", DJANGO),
        sends_with="dramatiq",
        processes=2,
    ),
    "hypercorn": Server(
        command=("-m", "hypercorn", "-b", "127.0.0.1:{port}", "-w", "2", FASTAPI),
        sends_with="celery",
        processes=2,
    ),
    "flask run": Server(
        command=("-m", "flask", "--app", FLASK, "run", "--port", "{port}"),
        sends_with="dramatiq",
        returncode=-15,
    ),
    "runserver": Server(
        command=("-m", "django", "runserver", "--noreload", "{port}"),
        sends_with="celery",
        env={"DJANGO_SETTINGS_MODULE": f"{APPS}.django_shop.settings"},
        returncode=-15,
    ),
    "python app.py": Server(
        command=("-m", f"{APPS}.web_threads", "{port}"), sends_with="celery", returncode=-15
    ),
}


def skip_unless_installed() -> None:
    """Skip the calling test where the apps or servers are not installed."""
    for module in NEEDED:
        pytest.importorskip(module)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the app reported about itself in an answer."""

    pid: int
    trace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server that runs, or has run."""

    process: ManagedProcess
    url: str

    def get(self, path: str, *, timeout: float = 60) -> Page:
        """Request one page, over a connection of its own, as soon as the server listens."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/{path}", timeout=timeout) as answer:
                    return Page(**json.load(answer))
            except urllib.error.URLError as error:
                away = isinstance(error.reason, ConnectionRefusedError)
                if not away or self.process.returncode is not None or _is_past(deadline):
                    raise AssertionError(f"no {path}: {error}\n{self.process.tail()}") from error
            time.sleep(0.02)

    def get_from_all(self, path: str, processes: int, *, timeout: float = 60) -> list[Page]:
        """Request pages in parallel until that many processes have answered, in any order."""
        pages: list[Page] = []
        deadline = time.monotonic() + timeout
        while len({page.pid for page in pages}) < processes:
            assert not _is_past(deadline), f"only { ({page.pid for page in pages}) } answered"
            with ThreadPoolExecutor(_TOGETHER) as askers:
                pages += askers.map(self.get, [path] * _TOGETHER)
        return pages


def start(
    lab: Lab, server: Server, env: Mapping[str, str] | None = None, *, launcher: str | None = None
) -> Site:
    """Start `server`, with service name `web`. It may not listen yet; `Site.get` waits.

    `launcher` is a program that starts Python in its own way.
    """
    skip_unless_installed()
    program, *arguments = server.command
    port = free_port()
    start_of = [find_program(program)] if program == "uwsgi" else [sys.executable, program]
    command = (
        [launcher] * bool(launcher) + start_of + [each.format(port=port) for each in arguments]
    )
    extra = {"FRAMEWORK": server.sends_with, **server.env, **(env or {})}
    environment = lab.env("web", lab.module(""), extra)
    # uWSGI of the package `pyuwsgi` starts Python anew without the virtual environment.
    environment["PYTHONPATH"] += f"{os.pathsep}{sysconfig.get_path('purelib')}"
    process = lab.processes.start(arguments[0], command, env=environment, cwd=lab.directory)
    return Site(process=process, url=f"http://127.0.0.1:{port}")


def find_program(name: str) -> str:
    """Return the path of a program beside this interpreter, or of the machine."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or find_binary(name)


def _is_past(deadline: float) -> bool:
    return time.monotonic() > deadline
