"""The files of the example of a deployment, parsed, and what they ask the app's processes to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).resolve().parent.parent
PLACE: Final = ROOT / "example_projects" / "deployment"
_REFERENCE: Final = re.compile(r"\$\((\w+)\)")


def document(name: str) -> Any:
    """The one YAML document of a file."""
    return yaml.safe_load((PLACE / name).read_text())


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    found: dict[str, dict[str, Any]] = document("compose.yaml")["services"]
    return found


def of_the_app() -> dict[str, dict[str, Any]]:
    """Those that run the image that is built here."""
    return {name: each for name, each in services().items() if "build" in each}


def containers() -> dict[str, dict[str, Any]]:
    """The containers of the Kubernetes manifests, by the names of their deployments."""
    found = {}
    for name in ("worker", "report"):
        deployment = document(f"kubernetes/{name}.yaml")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        found[deployment["metadata"]["name"]] = container
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container, as Kubernetes makes it; a field of the pod is its path."""
    made: dict[str, str] = {}
    for each in container["env"]:
        value = each.get("value")
        if value is None:
            source = each["valueFrom"]
            value = source.get("fieldRef", {}).get("fieldPath") or "secret"
        made[each["name"]] = _REFERENCE.sub(lambda found: made[found[1]], value)
    return made


def environments() -> dict[str, dict[str, str]]:
    """The environment of each process of the app, in both ways to deploy it."""
    composed = {
        f"compose {name}": each["environment"]
        for name, each in of_the_app().items()
        if "environment" in each
    }
    return composed | {name: variables(each) for name, each in containers().items()}
