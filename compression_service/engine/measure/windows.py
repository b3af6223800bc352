"""Windows which are open at the same time: fresh processes, each loaded and warm; a slice of one runs at a time.

A shared machine changes its speed within seconds. Windows which run one after the other see different machines, and
their ratios say so; windows which take slices of a tenth of a second in turn see the same one (docs/decisions/0020).
The other processes wait for a line meanwhile, which takes no processor.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import machine

OPEN_SHARE = 0.5  # of the memory which is free may go to one more window
MOST_OPEN = 32
PATIENCE_S = 120.0  # beyond what a step may take: to load the model, and to end the inference under way
SLICE_S, SLICE_OF_THREADS_S = 0.1, 0.25  # several threads need some 50 ms after each to come to rest
SLICE_RUNS = 8  # a slice is longer where so many runs are: the first run of each is not timed


class WindowError(Exception):
    """A window which came to nothing. The message is a sentence."""


class LateError(WindowError):
    """It was stopped, for it did not answer in time."""


class Window:
    """One fresh process of the harness, at the end of whose opening the model is loaded and warm."""

    def __init__(
        self, task: dict[str, Any], path: Path, *, seconds: float, least_runs: int, seconds_cap: float
    ) -> None:
        """Raises WindowError. Wanted are `seconds` and `least_runs` of timed runs, in at most `seconds_cap`."""
        self.wanted_s, self.wanted_runs, self.most_s = seconds, least_runs, max(seconds, seconds_cap)
        self.seconds, self.runs = 0.0, 0
        self.slice_s = SLICE_S if task["threads"] == 1 else SLICE_OF_THREADS_S
        self.patience_s = self.most_s + task["warmup"]["seconds_cap"] + PATIENCE_S
        self.result_path, self.log_path = path.with_suffix(".result.json"), path.with_suffix(".log")
        path.write_text(json.dumps(task), encoding="utf-8")
        argv = [sys.executable, "-m", f"{__package__}.harness", str(path), str(self.result_path)]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0)
        try:
            _, run_ms, peak = self._answer(task["warmup"]["seconds_cap"])
            self.run_s, self.peak_bytes = float(run_ms) / 1000, int(peak)
        except BaseException:
            self.stop()
            raise

    @property
    def is_done(self) -> bool:
        enough = self.seconds >= self.wanted_s and self.runs >= self.wanted_runs
        return self.runs > 0 and (enough or self.seconds >= self.most_s)

    def want_more(self) -> None:
        """As much again beyond what it has: it is the yardstick of further windows."""
        self.seconds, self.runs = 0.0, 0

    def slice(self) -> None:
        """Time runs for a slice of the window. Raises WindowError."""
        left_s = (self.wanted_s if self.seconds < self.wanted_s else self.most_s) - self.seconds
        seconds = min(max(0.0, left_s), max(self.slice_s, SLICE_RUNS * self.run_s))
        try:
            self._pipe(self.process.stdin).write(f"{seconds:f}\n".encode())
        except BrokenPipeError:
            self.process.wait()
            raise self._broken() from None
        runs, spent = self._answer(seconds)
        self.runs, self.seconds = self.runs + int(runs), self.seconds + float(spent)

    def close(self) -> dict[str, Any]:
        """End the process; what it measured. Raises WindowError."""
        try:
            self._pipe(self.process.stdin).close()
            self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise self._late() from None
        finally:
            self.stop()
        if self.process.returncode or not self.result_path.is_file():
            raise self._broken()
        window: dict[str, Any] = json.loads(self.result_path.read_text(encoding="utf-8"))
        return window

    def stop(self) -> None:
        """Whatever it is about, it ends now."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def _answer(self, seconds: float) -> list[str]:
        """The words of its next line, within its patience beyond the seconds that it may take."""
        pipe, line = self._pipe(self.process.stdout), b""
        deadline = time.monotonic() + seconds + PATIENCE_S
        while not line.endswith(b"\n"):
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise self._late()
            part = pipe.read(64)
            if not part:
                self.process.wait()
                raise self._broken()
            line += part
        return line.decode("ascii").split()

    def _late(self) -> LateError:
        return LateError(f"It had not ended after {self.patience_s:g} s and was stopped.")

    def _broken(self) -> WindowError:
        if self.process.returncode < 0:
            return WindowError(f"The process which ran it was ended by signal {-self.process.returncode}.")
        lines = [line for line in self.log_path.read_text(errors="replace").splitlines() if line.strip()]
        return WindowError(f"It does not run: {lines[-1][:200] if lines else 'no message'}")

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


@dataclass(frozen=True)
class Wanted:
    """A window which is to be taken. `start` raises WindowError."""

    name: str
    start: Callable[[], Window]
    needed_bytes: int


def take(
    yardstick: Wanted, others: Sequence[Wanted], started: Callable[[str], None], *, yardstick_last: bool = False
) -> dict[str, dict[str, Any] | WindowError]:
    """A window of each by its name: as many open at a time as there is memory for, the yardstick beside all others.

    Where two do not fit they are taken one by one, the yardstick first or last. One which fails beside others is tried
    again by itself, for it may only have lacked memory.
    """

    def fits(one: Wanted) -> bool:
        needed = max(one.needed_bytes, *(window.peak_bytes for window in live.values()))
        return len(live) < MOST_OPEN and needed <= _room()

    largest = max((one.needed_bytes for one in others), default=0)
    together = yardstick.needed_bytes + largest <= _room()
    queue = [*others, yardstick] if yardstick_last and not together else [yardstick, *others]
    live: dict[str, Window] = {}
    taken: dict[str, dict[str, Any] | WindowError] = {}
    try:
        while queue:
            while queue and (not live or (together and fits(queue[0]))):
                one = queue.pop(0)
                started(one.name)
                try:
                    live[one.name] = one.start()
                except WindowError as error:
                    taken[one.name] = error
            together = together and (not queue or set(live) != {yardstick.name})  # else nothing fits beside it
            taken |= _in_turn(live)
            for name in [name for name in live if name != yardstick.name or not (together and queue)]:
                taken[name] = _closed(live.pop(name))
            for window in live.values():
                window.want_more()
    finally:
        for window in live.values():
            window.stop()
    for one in (yardstick, *others) if others else ():
        if isinstance(taken[one.name], WindowError) and not isinstance(taken[one.name], LateError):
            taken |= take(one, [], started)
    return taken


def _in_turn(live: dict[str, Window]) -> dict[str, dict[str, Any] | WindowError]:
    """Time the windows, a slice of each in turn, until each has what it wants; those which fail leave `live`."""
    failed: dict[str, dict[str, Any] | WindowError] = {}
    while waiting := [name for name, window in live.items() if not window.is_done]:
        for name in waiting:
            try:
                live[name].slice()
            except WindowError as error:
                failed[name] = error
                live.pop(name).stop()
    return failed


def _closed(window: Window) -> dict[str, Any] | WindowError:
    try:
        return window.close()
    except WindowError as error:
        return error


def _room() -> float:
    return OPEN_SHARE * (machine.available_bytes() or 0)
