"""The Tasks API over Celery, where BROKER_URL is set. It only carries job ids: leases and results are ours."""

from collections.abc import Sequence
from typing import Any

from celery import Celery
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import TaskResult, TaskResultStatus

app = Celery("fithub", broker=settings.BROKER_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="fithub.run_task")  # type: ignore[untyped-decorator]
def run_task(path: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    import_string(path).call(*args, **kwargs)


class CeleryBackend(BaseTaskBackend):
    """Enqueues to Celery. The sweeper announces a lost message again; one which comes twice is harmless."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        self.validate_task(task)
        sent = run_task.apply_async((task.module_path, list(args), dict(kwargs)), queue=task.queue_name)
        return TaskResult(
            task=task,
            id=sent.id,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def run_worker(self, queues: Sequence[str]) -> None:
        """Work off these queues in this process until told to stop (one job at a time: a job needs the machine)."""
        app.Worker(queues=list(queues), pool="solo", loglevel="WARNING", without_gossip=True).start()
