"""One job kind a file. A runner is a module with `heavy`, `run(context) -> message` and `on_failed(job)`."""

from typing import TYPE_CHECKING, Protocol

from compression_service.jobs.models import Job
from compression_service.jobs.runners import convert, make_variant, measure, preview_data, read_rows, scan_files

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context


class Runner(Protocol):
    heavy: bool

    def run(self, context: "Context") -> str:
        """Do the work; returns one line on what was done. SandboxFailed fails the job with its sentence."""

    def on_failed(self, job: Job) -> None:
        """Called once when the job failed or was cancelled: set right what waits for it."""


RUNNERS: dict[str, Runner] = {
    "convert": convert,
    "make_variant": make_variant,
    "measure": measure,
    "preview_data": preview_data,
    "read_rows": read_rows,
    "scan_files": scan_files,
}
