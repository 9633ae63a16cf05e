"""RQ, traced by `QueueTracer`: use these classes in place of `rq.Queue` and `rq.SimpleWorker`."""

import rq

META = "otel"


class TracedQueue(rq.Queue):
    """Its jobs carry the context of their send."""

    tracer = None

    def enqueue_job(self, job, *args, **kwargs):
        with self.tracer.send(
            task=job.func_name, destination=self.name, message_id=job.id
        ) as sending:
            job.meta[META] = {"headers": sending.headers, "attempt": 1}
            return super().enqueue_job(job, *args, **kwargs)


class TracedWorker(rq.SimpleWorker):
    """Ends each delivery after RQ has decided what becomes of the job."""

    tracer = None

    def perform_job(self, job, queue, *args, **kwargs):
        carried = job.meta.get(META) or {}
        attempt, perform = carried.get("attempt", 1), job.perform
        with self.tracer.process(
            task=job.func_name,
            destination=queue.name,
            message_id=job.id,
            headers=carried.get("headers"),
            attempt=attempt,
            max_attempts=attempt + (job.retries_left or 0),
            enqueued_at=job.enqueued_at,
        ) as delivery:

            def traced_perform():
                try:
                    return perform()
                except Exception:
                    if job.retries_left:
                        headers = delivery.retry(delay=job.get_retry_interval())
                        job.meta[META] = {"headers": headers, "attempt": attempt + 1}
                        job.save_meta()
                    else:
                        delivery.fail()
                    raise

            job.perform = traced_perform
            try:
                return super().perform_job(job, queue, *args, **kwargs)
            finally:
                del job.perform
