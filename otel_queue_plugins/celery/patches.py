"""What is replaced in Celery: each function, what it is called through, since when, and why.

A version is the first that has the function, or needs the patch; 5.3 is the oldest supported.
Two functions are no attributes of Celery's modules, but made for an app: what `AMQP` sends with
(`publishing`) and what runs a task (`running`). Whatever else is done is done with what Celery
offers: signals, and a class of requests under the one that it makes for a task (`main_process`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.patching import Patch

if TYPE_CHECKING:
    from otel_queue_plugins.celery.batches import Batches
    from otel_queue_plugins.celery.deliveries import Running
    from otel_queue_plugins.celery.main_process.batch_flushes import Flushes
    from otel_queue_plugins.celery.main_process.errbacks import Errbacks
    from otel_queue_plugins.celery.main_process.refused import Refused
    from otel_queue_plugins.celery.main_process.undelivered import MainProcess
    from otel_queue_plugins.celery.sends import Publishing
    from otel_queue_plugins.celery.worker_processes import ProcessSetup
    from otel_queue_plugins.celery.workers import Lifecycle
    from otel_queue_plugins.celery.workflow import Canvas
    from otel_queue_plugins.core.patching import Table


def of_every_process(
    publishing: Publishing, running: Running, canvas: Canvas, errbacks: Errbacks
) -> Table:
    """For producers and workers."""
    return {
        "celery.app.base:Celery": {
            "send_task": Patch(publishing.send_task, "5.3", "how long a send takes, and its error"),
        },
        "celery.app.amqp:AMQP": {
            "_create_task_sender": Patch(
                publishing.create_task_sender, "5.3", "what is sent; a signal costs four times that"
            ),
        },
        "celery.app.trace": {
            "build_tracer": Patch(running.build_tracer, "5.3", "all of a task, until it is acked"),
        },
        "celery.app.task:Task": {
            "retry": Patch(running.retry, "5.3", "an attempt's own max_retries"),
        },
        "celery.canvas:group": {
            "apply_async": Patch(canvas.apply_group, "5.3", "which messages are of one group"),
        },
        "celery.canvas:Signature": {
            "delay": Patch(canvas.delay, "5.3", "options of a signature that is sent"),
            "__call__": Patch(errbacks.call, "5.3", "an errback that is called, not sent"),
        },
        "celery.backends.base:Backend": {
            "_call_task_errbacks": Patch(errbacks.call_all, "5.3", "which task they are for"),
        },
    }


def of_main_process(
    main: MainProcess, running: Running, refused: Refused, setup: ProcessSetup, life: Lifecycle
) -> Table:
    """For the process of a worker that receives messages."""
    decisions, aloud = main.decisions, Patch(life.aloud, "5.3", "what handlers do is no noise")
    return {
        "celery.worker.request:Request": {
            "on_failure": Patch(main.on_failure, "5.3", "the process of a task is lost"),
            "on_timeout": Patch(main.on_timeout, "5.3", "the process of a task is too slow"),
            # Before, Celery runs the task that it has rejected.
            "reject": Patch(main.reject, "5.7", "a task that no pool has had"),
            "_announce_cancelled": Patch(main.announce_cancelled, "5.3", "connection is lost"),
            "_announce_revoked": Patch(main.announce_revoked, "5.3", "revoked, or expired"),
            "_success_was_stored": Patch(decisions.success_was_stored, "5.7", "it is no retry"),
            "_retry_worker_lost": Patch(decisions.retry_worker_lost, "5.7", "it is a retry"),
        },
        "celery.worker.strategy": {
            "create_request_cls": Patch(main.create_request_cls, "5.3", "on the way to the pool"),
            "default": Patch(main.strategy, "5.3", "when a message was received"),
        },
        "celery.worker.worker:WorkController": {
            "start": Patch(setup.work, "5.3", "all the worker does, without its own broker spans"),
            "_shutdown": Patch(setup.shut_down, "5.3", "nobody reports any more"),
        },
        "celery.worker.pidbox:gPidbox": {
            "loop": Patch(life.quietly, "5.3", "a greenlet of its own"),
        },
        "kombu.asynchronous.timer:Entry": {
            "__call__": Patch(life.quietly, "5.3", "a greenlet of its own"),
        },
        "celery.worker.consumer.consumer": {
            "build_tracer": Patch(running.build_tracer, "5.3", "imported by name"),
        },
        "celery.worker.consumer.consumer:Consumer": {
            "on_unknown_task": Patch(refused.on_unknown_task, "5.3", "not registered here"),
            "on_unknown_message": Patch(refused.on_unreadable, "5.3", "no task"),
            "on_invalid_task": Patch(refused.on_unreadable, "5.3", "no arguments of a task"),
            "on_decode_error": Patch(refused.on_decode_error, "5.3", "not to be decoded"),
        },
        "celery.signals:task_received": {
            "send": Patch(main.task_received, "5.3", "handlers are in the sender's context"),
        },
        "celery.signals:heartbeat_sent": {"send": aloud},
        "celery.signals:worker_ready": {"send": aloud},
        "celery.signals:worker_shutdown": {"send": aloud},
        "celery.signals:worker_shutting_down": {"send": aloud},
    }


def of_prefork(life: Lifecycle) -> Table:
    """For a worker whose pool is of processes."""
    return {
        "celery.concurrency.prefork": {
            "process_initializer": Patch(
                life.initialize_process, "5.3", "after all receivers of worker_process_init"
            ),
        },
    }


def of_threads(life: Lifecycle) -> Table:
    """For a worker whose pool is of threads or greenlets, which start with no context."""
    quietly = Patch(life.quietly, "5.3", "what acknowledges a task is noise, too")
    return {
        "celery.concurrency.base": {"apply_target": quietly},
        "celery.concurrency.thread": {"apply_target": quietly},
        "celery.concurrency.gevent": {"apply_timeout": quietly},
    }


def of_batches(batches: Batches, flushes: Flushes) -> Table:
    """For celery-batches. Versions are those of Celery."""
    return {
        "celery_batches:Batches": {
            "Strategy": Patch(flushes.strategy, "5.3", "when a message was received"),
            "flush": Patch(flushes.flush, "5.3", "a batch on its way to the pool"),
        },
        "celery_batches.trace": {
            "apply_batches_task": Patch(batches.apply, "5.3", "one call for several messages"),
        },
        "celery_batches.trace:logger": {
            "error": Patch(batches.error, "5.3", "all that is done about an error"),
        },
        "celery.backends.base:Backend": {
            "mark_as_done": Patch(batches.mark_as_done, "5.3", "how one message fared"),
            "mark_as_failure": Patch(batches.mark_as_failure, "5.3", "how one message fared"),
            "mark_as_retry": Patch(batches.mark_as_retry, "5.3", "how one message fared"),
        },
    }
