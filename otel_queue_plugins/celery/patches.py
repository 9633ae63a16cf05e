"""The tables of patches: each function, its wrapper, the version of Celery that has it, and why.

The version is the first that has the function, or that needs the patch; 5.3 is the oldest that is
supported. Two kinds of functions are not in the tables, as Celery makes them for an app or a task:
`send_task_message` (`sends.py`) and tracers (`deliveries.py`). Everything else uses public hooks:
signals, and the request class of a task (`main_process/request_classes.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.patching import Patch

if TYPE_CHECKING:
    from otel_queue_plugins.celery.installation import Installation
    from otel_queue_plugins.celery.parts import Parts
    from otel_queue_plugins.core.patching import Table


def of_every_process(parts: Parts) -> Table:
    """Return the patches for producers and workers."""
    sends, deliveries, errbacks = parts.sends, parts.deliveries, parts.errbacks
    return {
        "celery.app.base:Celery": {
            "send_task": Patch(sends.send_task, "5.3", "how long a send takes, and its error"),
        },
        "celery.app.amqp:AMQP": {
            "_create_task_sender": Patch(
                sends.create_task_sender, "5.3", "the message; a signal costs four times as much"
            ),
        },
        "celery.app.trace": {
            "build_tracer": Patch(
                deliveries.build_tracer, "5.3", "the task with all that Celery does around it"
            ),
        },
        "celery.app.task:Task": {
            "retry": Patch(deliveries.retry, "5.3", "max_retries of one attempt"),
        },
        "celery.canvas:group": {
            "apply_async": Patch(parts.workflows.apply_group, "5.3", "the messages of one group"),
        },
        "celery.canvas:Signature": {
            "delay": Patch(parts.workflows.delay, "5.3", "the body of a chord when it is sent"),
            "__call__": Patch(errbacks.call, "5.3", "an errback that is called, not sent"),
        },
        "celery.backends.base:Backend": {
            "_call_task_errbacks": Patch(errbacks.call_all, "5.3", "the task that has failed"),
            "chord_error_from_stack": Patch(
                parts.workflows.break_chord, "5.3", "the header of a chord has failed"
            ),
        },
    }


def of_main_process(parts: Parts, installation: Installation) -> Table:
    """Return the patches for the main process of a worker."""
    requests, refused, workers = parts.requests, parts.refused_messages, parts.workers
    decisions = requests.decisions
    suppressed = Patch(workers.run_suppressed, "5.3", "it runs in a greenlet of its own")
    unsuppressed = Patch(workers.run_unsuppressed, "5.3", "receivers are user code")
    return {
        "celery.worker.request:Request": {
            "on_failure": Patch(requests.on_failure, "5.3", "the process of a task is lost"),
            "on_timeout": Patch(requests.on_timeout, "5.3", "a task exceeds its time limit"),
            # Before 5.7, Celery runs the task that it has rejected.
            "reject": Patch(requests.reject, "5.7", "a task that was not given to the pool"),
            "_announce_cancelled": Patch(
                requests.announce_cancelled, "5.3", "the connection is lost"
            ),
            "_announce_revoked": Patch(requests.announce_revoked, "5.3", "revoked or expired"),
            "_success_was_stored": Patch(
                decisions.success_was_stored, "5.7", "a lost task has succeeded"
            ),
            "_retry_worker_lost": Patch(
                decisions.retry_worker_lost, "5.7", "a lost task is retried"
            ),
        },
        "celery.worker.strategy": {
            "create_request_cls": Patch(
                parts.request_classes.create_request_cls, "5.3", "requests and results of the pool"
            ),
            "default": Patch(parts.receipts.strategy, "5.3", "the time at which it was received"),
        },
        "celery.worker.worker:WorkController": {
            "start": Patch(installation.run_worker, "5.3", "the worker runs, and has ended"),
            "_shutdown": Patch(installation.shut_down_worker, "5.3", "the pool has ended"),
        },
        "celery.worker.pidbox:gPidbox": {"loop": suppressed},
        "kombu.asynchronous.timer:Entry": {"__call__": suppressed},
        "celery.worker.consumer.consumer": {
            "build_tracer": Patch(parts.deliveries.build_tracer, "5.3", "imported by name"),
        },
        "celery.worker.consumer.consumer:Consumer": {
            "on_unknown_task": Patch(refused.on_unknown_task, "5.3", "the task is unknown"),
            "on_unknown_message": Patch(refused.on_unreadable, "5.3", "the message is no task"),
            "on_invalid_task": Patch(refused.on_unreadable, "5.3", "arguments are invalid"),
            "on_decode_error": Patch(refused.on_decode_error, "5.3", "it cannot be decoded"),
        },
        "celery.signals:task_received": {
            "send": Patch(requests.task_received, "5.3", "receivers in the sender's context"),
        },
        "celery.signals:heartbeat_sent": {"send": unsuppressed},
        "celery.signals:worker_ready": {"send": unsuppressed},
        "celery.signals:worker_shutdown": {"send": unsuppressed},
        "celery.signals:worker_shutting_down": {"send": unsuppressed},
    }


def of_prefork(parts: Parts) -> Table:
    """Return the patches for a worker with a pool of processes."""
    return {
        "celery.concurrency.prefork": {
            "process_initializer": Patch(
                parts.workers.initialize_process,
                "5.3",
                "after all receivers of worker_process_init",
            ),
        },
    }


def of_threads(parts: Parts) -> Table:
    """Return the patches for a worker with a pool of threads or greenlets."""
    suppressed = Patch(
        parts.workers.run_suppressed, "5.3", "it starts with an empty context, and acknowledges"
    )
    return {
        "celery.concurrency.base": {"apply_target": suppressed},
        "celery.concurrency.thread": {"apply_target": suppressed},
        "celery.concurrency.gevent": {"apply_timeout": suppressed},
    }


def of_polls(parts: Parts) -> Table:
    """Return the patches for a worker whose polls are recorded, on a broker that is polled."""
    fetches = parts.fetches
    return {
        "kombu.transport.virtual.base:Channel": {
            "drain_events": Patch(fetches.drain_events, "5.3", "how long a poll takes"),
        },
        "kombu.transport.virtual.base:Transport": {
            "_deliver": Patch(fetches.deliver, "5.3", "what a poll has returned"),
        },
        "kombu.transport.redis:Channel": {
            "_brpop_start": Patch(fetches.start, "5.3", "when a poll of Redis begins"),
            "_brpop_read": Patch(fetches.read, "5.3", "when a poll of Redis ends"),
        },
    }


def of_batches(parts: Parts) -> Table:
    """Return the patches for celery-batches. Versions are those of Celery."""
    batches = parts.batches
    return {
        "celery_batches:Batches": {
            "Strategy": Patch(parts.receipts.strategy, "5.3", "the time at which it was received"),
            "flush": Patch(parts.batch_flushes.flush, "5.3", "a batch is given to the pool"),
        },
        "celery_batches.trace": {
            "apply_batches_task": Patch(batches.apply, "5.3", "one call for several messages"),
        },
        "celery_batches.trace:logger": {
            "error": Patch(batches.log_error, "5.3", "an error is only logged"),
        },
        "celery.backends.base:Backend": {
            "mark_as_done": Patch(batches.mark_as_done, "5.3", "the outcome of one message"),
            "mark_as_failure": Patch(batches.mark_as_failure, "5.3", "the outcome of one message"),
            "mark_as_retry": Patch(batches.mark_as_retry, "5.3", "the outcome of one message"),
        },
    }
