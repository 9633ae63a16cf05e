"""The code of a documentation page as an app of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.brokers.harness import App

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

SENT = {"celery": "charge.delay(42)", "dramatiq": "charge.send(42)"}
TASK = {"celery": "shop.charge", "dramatiq": "charge"}
"""By framework, how a producer sends the task of the tutorials, and the task's name."""


def write(lab: Lab, code: str, name: str = "shop") -> App:
    """Write a module with the code of a page, and the broker of the lab in it."""
    path = lab.directory / f"{name}.py"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(code.replace("redis://localhost", lab.broker.url))
    return App(module=name.replace("/", "."), queue=lab.broker.queue)


def start(lab: Lab, framework: str, app: App, env: Mapping[str, str]) -> ManagedProcess:
    """Start the worker of a page, and wait until it is ready."""
    if framework == "celery":
        return lab.celery(app, env=env, ready=r" ready\.")
    return lab.dramatiq(app, env=env)
