"""Every name this package emits, in one place.

The conventions are OpenTelemetry semantic conventions 1.44.0 (messaging, exceptions, server, code).
Names that they do not have begin with `taskqueue.`. `docs/reference/telemetry.md` describes all
names for users; a test compares the two.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "otel_queue_plugins"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
CARRIER_KEY: Final = "otq"

# Attributes
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_CONVERSATION_ID: Final = "messaging.message.conversation_id"
MESSAGING_BATCH_MESSAGE_COUNT: Final = "messaging.batch.message_count"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
PROCESS_PID: Final = "process.pid"
CODE_FUNCTION_NAME: Final = "code.function.name"
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
METRIC_OVERFLOW: Final = "otel.metric.overflow"

# Attributes of other conventions, for `OTEL_QUEUE_PROFILE`
DATADOG_OPERATION: Final = "operation.name"
DATADOG_RESOURCE: Final = "resource.name"
DATADOG_TYPE: Final = "span.type"
PEER_SERVICE: Final = "peer.service"
SENTRY_OPERATION: Final = "sentry.op"
SENTRY_RECEIVE_LATENCY: Final = "messaging.message.receive.latency"
XRAY_ANNOTATIONS: Final = "aws.xray.annotations"

FRAMEWORK: Final = "taskqueue.framework"
TASK_NAME: Final = "taskqueue.task.name"
TASK_ATTEMPT: Final = "taskqueue.task.attempt"
TASK_MAX_ATTEMPTS: Final = "taskqueue.task.max_attempts"
TASK_PRIORITY: Final = "taskqueue.task.priority"
TASK_TRIGGER: Final = "taskqueue.task.trigger"
TASK_OUTCOME: Final = "taskqueue.task.outcome"
TASK_WAIT: Final = "taskqueue.task.wait"
TASK_PREFETCH_WAIT: Final = "taskqueue.task.prefetch_wait"
TASK_SCHEDULED_DELAY: Final = "taskqueue.task.scheduled_delay"
TASK_DEADLINE_REMAINING: Final = "taskqueue.task.deadline_remaining"
RETRY_DELAY: Final = "taskqueue.retry.delay"
RETRY_REASON: Final = "taskqueue.retry.reason"
DEAD_LETTER_REASON: Final = "taskqueue.dead_letter.reason"
DEAD_LETTER_QUEUE: Final = "taskqueue.dead_letter.queue"
SKIP_REASON: Final = "taskqueue.skip.reason"
LOST_REASON: Final = "taskqueue.lost.reason"
REDELIVERED: Final = "taskqueue.redelivered"
WORKER_NAME: Final = "taskqueue.worker.name"
WORKFLOW_KIND: Final = "taskqueue.workflow.kind"
WORKFLOW_ID: Final = "taskqueue.workflow.id"
WORKFLOW_STEP: Final = "taskqueue.workflow.step"
SAMPLING_REASON: Final = "taskqueue.sampling.reason"
CORRELATION_ID: Final = "taskqueue.correlation_id"
CORRELATION_VALUE: Final = "taskqueue.correlation.{key}"

# Attributes of the spans of `otel-queue`
ADMIN_OPERATION: Final = "taskqueue.admin.operation"
ADMIN_STATE: Final = "taskqueue.admin.state"
ADMIN_MATCHED: Final = "taskqueue.admin.matched"
ADMIN_CHANGED: Final = "taskqueue.admin.changed"
ADMIN_USER: Final = "taskqueue.admin.user"

# Attributes of metrics
CANCELLATION_SCOPE: Final = "taskqueue.cancellation.scope"
FETCH_RESULT: Final = "taskqueue.fetch.result"
DROP_REASON: Final = "taskqueue.telemetry.drop_reason"
SLO_OBJECTIVE: Final = "taskqueue.slo.objective"
SLO_MET: Final = "taskqueue.slo.met"
QUEUE_STATE: Final = "taskqueue.queue.state"

# Span events
EVENT_RECEIVED: Final = "taskqueue.received"
EVENT_RETRY: Final = "taskqueue.retry"
EVENT_DEAD_LETTER: Final = "taskqueue.dead_letter"
EVENT_REVOKED: Final = "taskqueue.revoked"
EVENT_EXPIRED: Final = "taskqueue.expired"
EVENT_SKIPPED: Final = "taskqueue.skipped"
EVENT_LOST: Final = "taskqueue.lost"
EVENT_EXCEPTION: Final = "exception"
LOG_PROCESS_EXCEPTION: Final = "messaging.process.exception"
LOG_SEND_EXCEPTION: Final = "messaging.send.exception"

# Metrics
SENT_MESSAGES: Final = "messaging.client.sent.messages"
CONSUMED_MESSAGES: Final = "messaging.client.consumed.messages"
OPERATION_DURATION: Final = "messaging.client.operation.duration"
PROCESS_DURATION: Final = "messaging.process.duration"
WAIT: Final = "taskqueue.task.wait"
PREFETCH_WAIT: Final = "taskqueue.task.prefetch_wait"
COMPLETION: Final = "taskqueue.task.completion"
SLO_DELIVERIES: Final = "taskqueue.slo.deliveries"
WORKFLOW_DURATION: Final = "taskqueue.workflow.duration"
RETRIES: Final = "taskqueue.task.retries"
DEAD_LETTERS: Final = "taskqueue.task.dead_letters"
CANCELLATIONS: Final = "taskqueue.task.cancellations"
IN_FLIGHT: Final = "taskqueue.worker.in_flight"
CAPACITY: Final = "taskqueue.worker.capacity"
RESERVED: Final = "taskqueue.worker.reserved"
SCHEDULED: Final = "taskqueue.worker.scheduled"
LONGEST_RUNNING: Final = "taskqueue.worker.longest_running"
QUEUE_DEPTH: Final = "taskqueue.queue.depth"
QUEUE_OLDEST_AGE: Final = "taskqueue.queue.oldest_age"
QUEUE_ABANDONED: Final = "taskqueue.queue.abandoned"
QUEUE_CONSUMERS: Final = "taskqueue.queue.consumers"
SCHEDULE_DRIFT: Final = "taskqueue.schedule.drift"
FETCHES: Final = "taskqueue.fetches"
DROPPED: Final = "taskqueue.telemetry.dropped"

DURATION_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
