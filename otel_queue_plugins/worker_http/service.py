"""The state of a worker and what serves it, in one process of the worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk import global_providers
from otel_queue_plugins.sdk.config import serving
from otel_queue_plugins.sdk.relay import numbers
from otel_queue_plugins.sdk.relay.siblings import Answering, ask
from otel_queue_plugins.worker_http import answers, health, process_state, turns
from otel_queue_plugins.worker_http.answers import Answer, Answers
from otel_queue_plugins.worker_http.exemplars import Exemplars
from otel_queue_plugins.worker_http.listening import Listening
from otel_queue_plugins.worker_http.process_state import ProcessState
from otel_queue_plugins.worker_http.series import WorkerMetrics, add_up
from otel_queue_plugins.worker_http.snapshots import Snapshots
from otel_queue_plugins.worker_http.stats import stats
from otel_queue_plugins.worker_http.worker import Worker

_log = logging.getLogger("otel_queue_plugins")

_SECONDS_TO_CAPTURE: Final = 0.04  # of the 0.1 s in which a request is answered
_SECONDS_FOR_SIBLINGS: Final = 1.0
_SUBJECT: Final = "state"
_NOT_SERVED: Final = f"{definitions.HTTP.variable} is not set in the worker"
_NO_PROMETHEUS: Final = "/metrics needs: pip install 'otel-queue-plugins[prometheus]'"


class Service:
    """Of one process, from the start of its worker to the end."""

    def __init__(self, worker: Worker, place: serving.Place, live_timeout: float) -> None:
        self._worker = worker
        self._live_timeout = live_timeout
        self._is_for_prometheus = place.variable == serving.PROMETHEUS_PORT
        self._siblings: dict[int, ProcessState] = {}
        self._answering: Answering | None = None
        self._exemplars = Exemplars()
        self._snapshots = Snapshots(self._capture)
        paths = {
            "/stats": answers.document(self.stats),
            "/metrics": self._metrics,
            "/livez": answers.probe(self._why_not_live, "live"),
            "/readyz": answers.probe(self._why_not_ready, "ready"),
        }
        self._listening = Listening(place, Answers(paths), has_siblings=worker.has_siblings)

    def start(self) -> None:
        """Start to listen, in threads of this process."""
        _import_exposition(logging.WARNING if self._is_for_prometheus else logging.INFO)
        if self._worker.has_siblings:
            self._answering = self._answer_siblings()
        self._snapshots.start()
        self._listening.start()

    def keep_numbers(self) -> None:
        """Gather the numbers of this process from now on, before anything is measured."""
        if not self._worker.has_pool_processes():
            numbers.keep(self._worker.meter_provider())

    def close(self) -> None:
        """Free the port."""
        self._listening.close()
        self._snapshots.close()
        if self._answering is not None:
            self._answering.close()

    def stats(self) -> Mapping[str, Any] | None:
        """The object of `/stats`; None before the first was captured."""
        found = self._snapshots.get(_SECONDS_TO_CAPTURE)
        return None if found is None else stats(self._worker, *found)

    def _metrics(self, accept: str) -> Answer:
        found = self._snapshots.get(_SECONDS_TO_CAPTURE)
        if found is None:
            return answers.plain(503, "not captured yet")
        states, metrics = found
        for each in states:
            if each.why_no_metrics:
                return answers.plain(503, f"process {each.pid}: {each.why_no_metrics}")
        try:
            from otel_queue_plugins.worker_http import exposition
        except ImportError:
            return answers.plain(503, _NO_PROMETHEUS)
        body, content_type = exposition.write(metrics, accept)
        return Answer(200, content_type, body)

    def _why_not_live(self) -> str | None:
        return health.why_not_live(self._health(), time.monotonic(), self._live_timeout)

    def _why_not_ready(self) -> str | None:
        return health.why_not_ready(self._health())

    def _health(self) -> list[ProcessState]:
        """The states of all processes; that of this one is asked for without any lock."""
        own = process_state.health_only(self._worker)
        if not self._worker.has_siblings:
            return [own]
        found = self._snapshots.get(_SECONDS_TO_CAPTURE)
        states = found[0] if found else ()
        return [own, *(each for each in states if each.pid != own.pid)]

    def _capture(self) -> tuple[list[ProcessState], WorkerMetrics]:
        states = self._states()
        metrics = add_up((each.pid, each.metrics) for each in states)
        self._exemplars.complete(metrics)
        return states, metrics

    def _states(self) -> list[ProcessState]:
        own = process_state.of_this_process(self._worker)
        if not self._worker.has_siblings:
            return [own]
        for answer in ask(_SECONDS_FOR_SIBLINGS, _SUBJECT):
            state = process_state.decode(answer)
            self._siblings[state.pid] = state
        # One that does not answer and lives is shown as it was: its loop may hang.
        self._siblings = {
            pid: each for pid, each in self._siblings.items() if turns.is_sibling(pid)
        }
        return [own, *(each for pid, each in self._siblings.items() if pid != own.pid)]

    def _answer_siblings(self) -> Answering | None:
        def answer() -> bytes:
            return process_state.encode(process_state.of_this_process(self._worker))

        try:
            return Answering(answer, _SUBJECT)
        except (OSError, AttributeError) as error:
            _log.warning("this process is missing from /stats and /metrics: %s", error)
            return None


def start(worker: Worker, environ: Mapping[str, str]) -> Service | None:
    """Serve `worker` where the environment asks for it; None if it does not."""
    place = serving.place(environ)
    if place is None or (place.variable == serving.PROMETHEUS_PORT and _is_of_application()):
        return None
    timeout = definitions.read(Variables(environ), definitions.LIVE_TIMEOUT)
    service = Service(worker, place, timeout)
    service.start()
    return service


def stats_once(worker: Worker) -> Mapping[str, Any]:
    """The object of `/stats` of a worker that serves nothing."""
    state = process_state.of_this_process(worker, _NOT_SERVED)
    return stats(worker, [state], add_up([(state.pid, state.metrics)]))


def _is_of_application() -> bool:
    """Whether the meter provider is the application's, with an exporter of its own."""
    return global_providers.has_provider("metrics") and not global_providers.is_own("metrics")


def _import_exposition(level: int) -> None:
    """Import it now: a fork during an import would leave the child with half a module."""
    try:
        from otel_queue_plugins.worker_http import exposition
    except ImportError:
        _log.log(level, _NO_PROMETHEUS)
    else:
        del exposition
