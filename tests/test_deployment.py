"""The files of the example of a deployment are right, as far as that is seen without running them.

They are read by the tools that read them for a user, where those can be had from a package
registry: `docker-compose`, `kubernetes-validate`, `hadolint`, `promtool` and `kubectl kustomize`.
For Grafana and the collector there is none, so what refers to something is followed here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from otel_queue_plugins.cli.dashboards.command import contents
from otel_queue_plugins.sdk.config import plan, specified, variable_names
from tests import pages
from tests.cli.test_dashboards import prometheus_names
from tests.services import find_binary

pytest.importorskip("yaml")

from tests import deployments

PLACE: Final = deployments.PLACE
KINDS: Final = {"apps/v1": "Deployment", "keda.sh/v1alpha1": "ScaledObject"}
PINNED: Final = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")


def tool(name: str) -> str:
    """The path of a program beside this interpreter, or of the machine."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or find_binary(name)


def checked(*command: str | Path) -> str:
    """What a command prints; a failed test shows what it complained about."""
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_compose_reads_its_file_and_finds_what_is_mounted() -> None:
    """With the program that runs it; what it built and mounts is there."""
    found = json.loads(
        checked(tool("docker-compose"), "-f", PLACE / "compose.yaml", "config", "--format=json")
    )
    mounts = [
        mount
        for service in found["services"].values()
        for mount in service.get("volumes", ())
        if mount["type"] == "bind"
    ]
    assert len(mounts) >= 4
    assert [each["source"] for each in mounts if not Path(each["source"]).is_file()] == []
    builds = [service["build"] for service in found["services"].values() if "build" in service]
    assert builds
    for build in builds:
        assert (Path(build["context"]) / build["dockerfile"]) == PLACE / "Dockerfile"


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """And what it copies is in its context."""
    assert checked(tool("hadolint"), PLACE / "Dockerfile") == ""
    copied = re.findall(r"^COPY (.+) \S+$", (PLACE / "Dockerfile").read_text(), re.MULTILINE)
    assert copied
    for pattern in " ".join(copied).split():
        assert list(deployments.ROOT.glob(pattern)), pattern


def test_manifests_fit_the_schemas_of_kubernetes() -> None:
    """Strictly: a field that does not exist is an error, too."""
    paths = [PLACE / "kubernetes" / name for name in ("worker.yaml", "report.yaml")]
    checked(tool("kubernetes-validate"), "--strict", *paths)


def test_scaled_object_fits_the_types_of_keda() -> None:
    """Made from its resource definition; a field that does not exist would be gone."""
    keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1")
    written = deployments.document("kubernetes/scaling.yaml")
    read = keda.ScaledObject.model_validate(written)
    assert read.model_dump(by_alias=True, exclude_none=True) == written


def test_kustomize_builds_each_manifest_with_a_pinned_image() -> None:
    """All files of the folder are in, and scale what is there."""
    yaml = pytest.importorskip("yaml")
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    built = list(yaml.safe_load_all(checked("kubectl", "kustomize", PLACE / "kubernetes")))
    files = {path.name for path in (PLACE / "kubernetes").iterdir()}
    named = deployments.document("kubernetes/kustomization.yaml")["resources"]
    assert files == {*named, "kustomization.yaml"}
    assert Counter(each["kind"] for each in built) == {"Deployment": 2, "ScaledObject": 1}
    names = {each["metadata"]["name"] for each in built if each["kind"] == "Deployment"}
    (scaled,) = (each for each in built if each["kind"] == "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] in names
    for each in built:
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert PINNED.fullmatch(container["image"]), container["image"]


def test_prometheus_reads_its_configuration_with_the_rules(tmp_path: Path) -> None:
    """With the rules that the command of the compose file writes."""
    for name, text in contents(["prometheus"]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    text = (PLACE / "prometheus.yml").read_text()
    assert "/monitoring/" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/monitoring", str(tmp_path)))
    said = checked(find_binary("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert "2 rule files found" in said


def test_images_are_pinned() -> None:
    """A version, and not the latest of the day."""
    images = [each["image"] for each in deployments.services().values()]
    images += re.findall(r"^FROM (\S+)$", (PLACE / "Dockerfile").read_text(), re.MULTILINE)
    assert [each for each in images if not PINNED.fullmatch(each)] == []


@pytest.mark.parametrize("process", deployments.environments())
def test_variables_are_known_and_right(process: str) -> None:
    """Nothing of what this package would say at the start of such a process."""
    environ = deployments.environments()[process]
    known = {*specified.NAMES, *variable_names.OURS}
    assert {name for name in environ if name.startswith("OTEL_")} - known == set()
    assert plan.read(environ).problems == ()


@pytest.mark.parametrize("name", deployments.containers())
def test_probes_ask_paths_that_are_answered_at_a_port_that_is_open(name: str) -> None:
    """Where the process listens, and for others than itself."""
    container = deployments.containers()[name]
    env = deployments.variables(container)
    host, _, port = env.get("OTEL_QUEUE_HTTP", "").rpartition(":")
    host = host or env["OTEL_EXPORTER_PROMETHEUS_HOST"]
    port = port or env["OTEL_EXPORTER_PROMETHEUS_PORT"]
    assert host == "0.0.0.0"  # noqa: S104 - the probes come from the node
    ports = {each["name"]: str(each["containerPort"]) for each in container["ports"]}
    answered = {"/metrics"}
    if "OTEL_QUEUE_HTTP" in env:
        answered |= {row.split("`")[1] for row in _rows_of("how-to/worker-http")}
    probes = [value["httpGet"] for key, value in container.items() if key.endswith("Probe")]
    assert probes
    for probe in probes:
        assert probe["path"] in answered
        assert ports[probe["port"]] == port
    deployment = deployments.document(f"kubernetes/{name.removeprefix('events-')}.yaml")
    scraped = deployment["spec"]["template"]["metadata"]["annotations"]
    assert scraped["prometheus.io/port"] == port
    assert scraped["prometheus.io/path"] in answered


def test_page_shows_the_variables_of_the_worker() -> None:
    """All of them, as they are in the compose file."""
    yaml = pytest.importorskip("yaml")
    shown = yaml.safe_load(pages.block("how-to/deployment", "yaml", "BROKER_URL"))
    assert shown["environment"] == deployments.services()["worker"]["environment"]


def _rows_of(page: str) -> list[str]:
    return [line for line in pages.text(page).splitlines() if line.startswith("| `/")]


def test_autoscaler_asks_for_metrics_and_the_queue_that_exist() -> None:
    """The queue is the one of the actor."""
    scaled = deployments.document("kubernetes/scaling.yaml")
    queries = [each["metadata"]["query"] for each in scaled["spec"]["triggers"]]
    assert queries
    app = (PLACE.parent / "fastapi_dramatiq" / "actors.py").read_text()
    for query in queries:
        assert set(re.findall(r"taskqueue_\w+(?={)", query)) <= prometheus_names()
        (queue,) = re.findall(r'messaging_destination_name="(\w+)"', query)
        assert f'queue_name="{queue}"' in app


def test_scrape_jobs_name_services_and_the_ports_that_they_open() -> None:
    """Of the compose file, or of the collector's configuration."""
    env = {name: each.get("environment", {}) for name, each in deployments.services().items()}
    collector = deployments.document("collector.yaml")
    opened = {
        ("worker", env["worker"]["OTEL_QUEUE_HTTP"].rpartition(":")[2]),
        ("report", env["report"]["OTEL_EXPORTER_PROMETHEUS_PORT"]),
        ("collector", collector["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]),
    }
    jobs = deployments.document("prometheus.yml")["scrape_configs"]
    found = {tuple(target.split(":")) for job in jobs for target in _targets(job)}
    assert found == opened
    own = {each["OTEL_SERVICE_NAME"] for each in env.values() if "OTEL_SERVICE_NAME" in each}
    assert {job["job_name"] for job in jobs} - own == {"collector"}


def _targets(job: dict[str, Any]) -> list[str]:
    static = [target for each in job.get("static_configs", ()) for target in each["targets"]]
    dns = [
        f"{name}:{each['port']}" for each in job.get("dns_sd_configs", ()) for name in each["names"]
    ]
    return static + dns


def test_pipelines_of_the_collector_use_what_is_defined_and_nothing_is_left() -> None:
    """Its endpoints are services of the compose file, at the ports that they open."""
    collector = deployments.document("collector.yaml")
    pipelines = collector["service"]["pipelines"]
    assert pipelines.keys() == {"traces", "metrics"}
    for kind in ("receivers", "processors", "exporters"):
        used = {name for each in pipelines.values() for name in each[kind]}
        assert used == collector[kind].keys()
    for each in pipelines.values():
        assert each["processors"][0] == "memory_limiter"
    assert collector["exporters"]["otlp/jaeger"]["endpoint"] == "jaeger:4317"
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    for environ in deployments.environments().values():
        endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://x:{port}")
        assert endpoint.endswith(f":{port}")


def test_grafana_is_given_what_its_files_name() -> None:
    """Its sources are services, exemplars lead to one, the dashboard is where it is looked for."""
    sources = deployments.document("grafana/datasources.yaml")["datasources"]
    services = deployments.services()
    for each in sources:
        assert re.fullmatch(r"http://(\w+):\d+", each["url"])[1] in services  # type: ignore[index]
    uids = {each["uid"] for each in sources}
    (prometheus,) = (each for each in sources if each["type"] == "prometheus")
    assert prometheus["isDefault"]
    for each in prometheus["jsonData"]["exemplarTraceIdDestinations"]:
        assert each["datasourceUid"] in uids
    (provider,) = deployments.document("grafana/dashboards.yaml")["providers"]
    (_, place, *_) = services["dashboards"]["command"][1:]
    written = {f"{place}/{name}" for name in contents(["grafana", "prometheus"])}
    assert f"{provider['options']['path']}/otel-queue.json" in written
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in written
    for name in ("dashboards", "prometheus", "grafana"):
        mounted = [each for each in services[name]["volumes"] if each.startswith("monitoring:")]
        assert [each.split(":")[1] for each in mounted] == [place]
