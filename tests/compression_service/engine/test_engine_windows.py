"""Windows which take turns: what each is asked for, who stays open, what becomes of one which fails."""

from __future__ import annotations

import os
import signal

import engine_models as models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_service.engine.measure import feeds, harness, machine, session, statistics, windows
from compression_service.engine.measure.windows import LateError, Wanted, WindowError


class Fake:
    """A window of which a slice takes 0.1 s."""

    def __init__(self, name, log, slices=3, peak=0, fails_at=None):
        self.name, self.log, self.wanted, self.left = name, log, slices, slices
        self.peak_bytes, self.fails_at = peak, fails_at
        log.append(f"open {name}")

    @property
    def is_done(self):
        return self.left <= 0

    def want_more(self):
        self.left = self.wanted

    def slice(self):
        self.left -= 1
        if self.left == self.fails_at:
            raise WindowError("It does not run: it broke")
        self.log.append(self.name)

    def close(self):
        self.log.append(f"close {self.name}")
        return {"name": self.name}

    def stop(self):
        self.log.append(f"stop {self.name}")


@pytest.fixture
def log():
    return []


def wanted(name, log, needed=1, **how):
    return Wanted(name, lambda: Fake(name, log, **how), needed)


def room_for(monkeypatch, bytes_):
    monkeypatch.setattr(machine, "available_bytes", lambda: bytes_)


def test_slices_are_taken_in_turn(monkeypatch, log):
    room_for(monkeypatch, 1000)
    taken = windows.take(wanted("s", log, slices=2), [wanted("a", log), wanted("b", log, slices=2)], log.append)
    opened = ["s", "open s", "a", "open a", "b", "open b"]
    assert log == [*opened, "s", "a", "b", "s", "a", "b", "a", "close s", "close a", "close b"]
    assert taken == {name: {"name": name} for name in "sab"}


def test_without_memory_for_two_they_are_taken_one_by_one(monkeypatch, log):
    room_for(monkeypatch, 2)
    others = [wanted(name, log, slices=1) for name in "ab"]
    windows.take(wanted("s", log, slices=1), others, lambda _: None)
    assert [line for line in log if "open" in line or "close" in line] == [
        f"{act} {name}" for name in "sab" for act in ("open", "close")
    ]
    log.clear()
    windows.take(wanted("s", log, slices=1), others, lambda _: None, yardstick_last=True)
    assert [line for line in log if "open" in line] == ["open a", "open b", "open s"]


def test_where_nobody_says_how_much_memory_is_free_one_is_open_at_a_time(monkeypatch, log):
    room_for(monkeypatch, None)
    windows.take(wanted("s", log), [wanted("a", log)], lambda _: None)
    assert log.index("close s") < log.index("open a")


def test_the_source_stays_beside_every_batch(monkeypatch, log):
    room_for(monkeypatch, 1000)
    monkeypatch.setattr(windows, "MOST_OPEN", 3)
    windows.take(wanted("s", log, slices=2), [wanted(name, log, slices=2) for name in "abc"], lambda _: None)
    assert log.count("open s") == log.count("close s") == 1 and log.count("s") == 4
    assert log.index("close b") < log.index("open c") < log.index("close s")
    assert log[log.index("open c") + 1 :] == ["s", "c", "s", "c", "close s", "close c"]


def test_a_source_which_turns_out_large_is_closed_first(monkeypatch, log):
    room_for(monkeypatch, 1000)
    windows.take(wanted("s", log, peak=501), [wanted("a", log, peak=501), wanted("b", log)], lambda _: None)
    assert log.index("close s") < log.index("open a") < log.index("close a") < log.index("open b")


def test_one_which_fails_beside_others_is_tried_alone(monkeypatch, log):
    room_for(monkeypatch, 1000)
    opened = []

    def start():
        opened.append(1)
        return Fake("a", log, fails_at=1 if len(opened) == 1 else None)

    taken = windows.take(wanted("s", log), [Wanted("a", start, 1), wanted("b", log)], lambda _: None)
    assert taken["a"] == {"name": "a"} and "stop a" in log
    assert log.index("close s") < len(log) - 1 - log[::-1].index("open a")


def test_what_fails_by_itself_too_says_why_and_the_others_have_theirs(monkeypatch, log):
    room_for(monkeypatch, 1000)

    def start():
        raise WindowError("It does not run: no such operator")

    taken = windows.take(wanted("s", log), [Wanted("a", start, 1), wanted("b", log, fails_at=2)], lambda _: None)
    assert str(taken["a"]) == "It does not run: no such operator" and "it broke" in str(taken["b"])
    assert taken["s"] == {"name": "s"}


def test_one_which_never_ends_is_not_waited_for_again(monkeypatch, log):
    room_for(monkeypatch, 1000)
    started = []

    def start():
        started.append(1)
        raise LateError("It had not ended after 2 s and was stopped.")

    taken = windows.take(wanted("s", log), [Wanted("a", start, 1)], lambda _: None)
    assert isinstance(taken["a"], LateError) and len(started) == 1 and taken["s"] == {"name": "s"}


def test_what_is_free_is_the_less_of_machine_and_container(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    assert machine.available_bytes() is None
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\n\nMemAvailable:  3000 kB\n")
    assert machine.available_bytes() == 3000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000\n")
    assert machine.available_bytes() == 3000 * 1024, "a container without a limit"
    (tmp_path / "memory.max").write_text("1000000\n")
    assert machine.available_bytes() == 100_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    assert machine.available_bytes() == 300_000


# --- with real processes -------------------------------------------------------------------------------------------
@pytest.fixture
def opened(tmp_path):
    """Start a real window of a small network, and stop it after the test."""
    path = models.saved(models.mlp(), tmp_path / "model.onnx")
    feeds.save([{"x": np.zeros((1, 64), np.float32)}], tmp_path / "feeds-0.npz")
    (tmp_path / "carry-0.json").write_text("{}")
    subject = session.Subject("onnx", tmp_path, [{"name": "model", "path": "model.onnx"}], [], [path])
    window = session._Session(tmp_path, 0.4, None)._start(subject, 1, cold=False)
    yield window
    window.stop()


def test_a_window_counts_the_runs_and_seconds_of_its_slices_only(opened):
    assert opened.run_s > 0 and opened.peak_bytes > 1e6 and not opened.is_done
    while not opened.is_done:
        opened.slice()
    result = opened.close()
    assert len(result["samples_ms"]) == sum(result["slices"]) == opened.runs
    assert len(result["slices"]) >= 2 and result["seconds"] == pytest.approx(opened.seconds)
    assert sum(result["samples_ms"]) / 1000 <= result["seconds"] < 0.6
    assert opened.process.returncode == 0


def test_a_window_which_is_killed_says_by_which_signal(opened):
    opened.slice()
    os.kill(opened.process.pid, signal.SIGKILL)
    opened.process.wait()
    with pytest.raises(WindowError, match="ended by signal 9"):
        opened.slice()
        opened.slice()


def test_a_window_ends_when_the_session_is_gone(opened):
    opened.process.stdin.close()
    assert opened.process.wait(timeout=20) == 0


def test_a_slice_is_answered_when_the_runtimes_threads_rest(monkeypatch):
    """They turn for a while after a run: so long the next window would share its processor with them."""
    clock, spent = [0.0], iter([0.0, 0.005, 0.005, 0.0099, 0.0099, 0.0100])
    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(harness.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(harness.time, "process_time", lambda: next(spent))
    harness.come_to_rest()
    assert clock[0] == pytest.approx(3 * harness.REST_S) and next(spent, None) is None


# --- the range of the p90 ------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40), min_size=1, max_size=30))
def test_the_p90_lies_in_its_range_and_the_range_in_the_samples(slices):
    samples = [sample for part in slices for sample in part]
    found = statistics.p90_range(samples, [len(part) for part in slices])
    if found["p90_low"] is None:
        assert len(samples) < 100 or len(slices) < 60
    else:
        p90 = float(np.percentile(samples, 90))
        assert min(samples) <= found["p90_low"] <= p90 <= found["p90_high"] <= max(samples)


def test_a_neighbour_who_comes_and_goes_widens_the_range():
    quiet, busy = [1.0] * 20, [1.6] * 20
    alike = statistics.p90_range(quiet * 40, [20] * 40)
    assert alike == {"p90_low": 1.0, "p90_high": 1.0}
    mixed = statistics.p90_range(quiet * 37 + busy * 3, [20] * 40)
    assert mixed["p90_low"] == 1.0 and mixed["p90_high"] > 1.5, "three of forty slices: the p90 of all is still 1.0"
    assert statistics.p90_range([1.0] * 50, [50]) == {"p90_low": None, "p90_high": None}
