"""Where untrusted files are opened: a child process which can reach nothing but its work folder and its source's memo.

Bubblewrap where it is installed and allowed: no network, no host files, its own processes, an ordinary uid. Else limits
of the kernel (rlimits) and a seccomp filter which refuses sockets and the like. The job's record says which.
"""

import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

logger = logging.getLogger(__name__)
PROJECT = Path(settings.BASE_DIR)
POLL_SECONDS = 0.2
_FILE_LIMIT_BYTES = 64 * 1024**3
_PR_SET_PDEATHSIG = 1


class SandboxFailed(Exception):
    """The child refused the input (`kind`, `reason` from its result) or broke; `result` is what it left."""

    def __init__(self, kind: str, reason: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.result = kind, reason, result or {}


class SandboxStopped(Exception):
    """The work was stopped from outside."""


class Sandbox:
    """Runs `python -m <module> task.json` in a job's folder."""

    def __init__(self, folder: Path, stop: threading.Event) -> None:
        self.folder, self.stop = folder, stop
        self.shared: Path | None = None  # another folder it may write, which later children of the same source read
        self.description = describe()
        self.processor_seconds = 0.0  # of all its children so far, theirs included; of killed ones what the kernel told

    def run(self, module: str, task: dict[str, Any], say: Callable[[float, str], None]) -> dict[str, Any]:
        """The child's result.json. Its progress lines go to `say`.

        Raises SandboxFailed when the child refuses, breaks, dies or takes too long; SandboxStopped when told to stop.
        """
        (self.folder / "task.json").write_text(json.dumps(task))
        result_path = self.folder / "result.json"
        result_path.unlink(missing_ok=True)
        argv = [*self._wrapper(), sys.executable, "-B", "-m", module, "task.json"]
        with (self.folder / "stderr.txt").open("wb") as errors:
            child = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                preexec_fn=_limits if _uses_bubblewrap() else _limits_and_filter,
                start_new_session=True,
            )
            timed_out = self._attend(child, say)
        tail = (self.folder / "stderr.txt").read_text(errors="replace")[-4000:]
        if self.stop.is_set():
            raise SandboxStopped
        if timed_out:
            raise SandboxFailed(
                "failed", f"The work took longer than the {settings.JOB_SECONDS:,.0f} s which a job may take."
            )
        result = _read_result(result_path)
        if child.returncode == 3 and result and isinstance(result.get("error"), dict):
            error = result["error"]
            raise SandboxFailed(str(error.get("kind", "failed")), str(error.get("reason", "")), result)
        if child.returncode != 0 or result is None:
            logger.warning("the sandboxed %s ended with %s:\n%s", module, child.returncode, tail)
            raise SandboxFailed("failed", _why_died(child.returncode), {"stderr": tail})
        return result

    def _attend(self, child: "subprocess.Popen[str]", say: Callable[[float, str], None]) -> bool:
        """Read progress until the child ends; end it when told to. Returns whether it took too long."""
        reader = threading.Thread(target=_read_lines, args=(child, say), daemon=True)
        reader.start()
        deadline = time.monotonic() + settings.JOB_SECONDS
        timed_out = False
        while not self._has_ended(child, os.WNOHANG):
            if self.stop.wait(POLL_SECONDS) or (timed_out := time.monotonic() > deadline):
                _kill(child)
                self._has_ended(child, 0)
                break
        reader.join(timeout=5)
        if not reader.is_alive() and child.stdout is not None:
            child.stdout.close()
        return timed_out

    def _has_ended(self, child: "subprocess.Popen[str]", options: int) -> bool:
        """Asks the kernel itself, because only wait4 tells what an ended child has used."""
        pid, status, usage = os.wait4(child.pid, options)
        if pid == 0:
            return False
        child.returncode = os.waitstatus_to_exitcode(status)
        self.processor_seconds += usage.ru_utime + usage.ru_stime
        return True

    def _wrapper(self) -> list[str]:
        if not _uses_bubblewrap():
            return []
        argv = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--uid", "65534", "--gid", "65534"]
        # The empty /tmp comes first: the project or its data may lie below the host's.
        argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        for path in _system_paths():
            argv += ["--ro-bind", path, path]
        for folder in filter(None, (self.folder, self.shared)):
            argv += ["--bind", str(folder), str(folder)]
        argv += ["--chdir", str(self.folder)]
        # Bubblewrap's own first process is never waited for, and what its children used is lost with it: a shell's is.
        return [*argv, "--as-pid-1", "/bin/sh", "-c", '"$@"; exit $?', "sh"]


def describe() -> str:
    """How files are held here, for a job's record."""
    if _uses_bubblewrap():
        return "bubblewrap: no network, no host files, uid 65534"
    return (
        "rlimits and seccomp: no sockets"
        if _seccomp_library()
        else "rlimits only: neither bubblewrap nor seccomp is here"
    )


@lru_cache(maxsize=1)
def _uses_bubblewrap() -> bool:
    if settings.SANDBOX == "rlimits":
        return False
    program = shutil.which("bwrap")
    if program:
        probe = [program, "--unshare-all", "--ro-bind", "/", "/", "--uid", "65534", "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return True
    if settings.SANDBOX == "bubblewrap":
        raise RuntimeError("FITHUB_SANDBOX=bubblewrap, but bwrap is not installed or may not make namespaces here.")
    return False


@lru_cache(maxsize=1)
def _seccomp_library() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    return pyseccomp


def _system_paths() -> list[str]:
    """What a Python program needs to run: libraries, this interpreter, this project's code. No settings, no data."""
    roots = [
        "/usr",
        "/lib",
        "/lib64",
        "/lib32",
        "/bin",
        "/etc/ld.so.cache",
        "/sys/devices/system/cpu",
        "/sys/fs/cgroup",
    ]
    roots += [sys.base_prefix, sys.prefix, str(PROJECT / "compression_service"), str(PROJECT / "models_registry")]
    return list(dict.fromkeys(path for path in roots if Path(path).exists()))


def _environment() -> dict[str, str]:
    """No secret of the hub is passed on."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "HOME": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(os.cpu_count() or 1),
    }


def _limits() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    memory = int(settings.JOB_MEMORY_GB * 1024**3)
    for kind, value in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, _FILE_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 4096),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _limits_and_filter() -> None:
    _limits()
    seccomp = _seccomp_library()
    if seccomp is None:
        return
    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    denied = """socket connect bind listen accept accept4 ptrace mount umount2 setns unshare bpf kexec_load
        init_module finit_module reboot process_vm_readv process_vm_writev"""
    for name in denied.split():
        rules.add_rule(seccomp.ERRNO(1), name)
    rules.load()


def _read_lines(child: "subprocess.Popen[str]", say: Callable[[float, str], None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        try:
            data = json.loads(line[:10_000])
            say(float(data["progress"]), _storable(str(data.get("message", ""))))
        except (ValueError, KeyError, TypeError):
            continue  # a library's own print; only progress lines are for us


def _read_result(path: Path) -> dict[str, Any] | None:
    """The child is not trusted: what it left must be a JSON object of sensible size, in a plain file."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 256 * 1024**2:
        return None
    try:
        data = json.loads(path.read_text())
    except ValueError:
        return None
    return _storable(data) if isinstance(data, dict) else None


def _storable(value: Any) -> Any:
    """Texts out of hostile files may hold what no database takes: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _kill(child: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        child.kill()


def _why_died(code: int) -> str:
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return f"The work needed more memory than the {settings.JOB_MEMORY_GB:g} GB which a job may use, or was killed."
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in {s.value for s in signal.Signals} else str(number)
        return f"A library which opened the files crashed ({name}): they may be damaged."
    return "A library which opened the files stopped with an unexpected error: they may be of a kind not known here."
