"""One window of measuring one variant: `python -m compression_service.engine.measure.harness TASK.json RESULT.json`.

A process of its own which imports numpy and onnxruntime and nothing else, since the runtime never gives memory back.
TASK: {"components": [{"path", "inputs": npz, "carry", "session_options"}], "files": [to drop from the page cache],
"empty_model", "threads", "cpus": [numbers], "limit_bytes": of the address space or null, "cold": bool,
"shift_bytes": how far to move what is allocated later, or null,
"warmup": {"seconds", "runs", "seconds_cap", "window_runs", "difference"}}. Times in ms, memory in bytes.
Loaded and warmed up it says `ready`, the ms of a run and its peak, and waits. Each line that it is sent is a slice of
so many seconds of timed runs, answered by `runs seconds`; the end of its input ends the window: RESULT is written.
"""

import json
import os
import sys
import time
from array import array as numbers
from typing import Any

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main(task_path: str, result_path: str) -> None:
    """Measure and write the result; any exception ends the process with a traceback."""
    with open(task_path, encoding="utf-8") as file:
        task = json.load(file)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is no answer
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
    if task["cpus"]:
        os.sched_setaffinity(0, task["cpus"])
    if task.get("limit_bytes"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (task["limit_bytes"], task["limit_bytes"]))
    import numpy as np
    import numpy.random  # nearly every program which feeds a model has it, so it belongs to the figure
    import onnxruntime

    from .options import apply

    def options_of(wanted):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        apply(options, wanted)
        return options

    wanted = [component.get("session_options") or {} for component in task["components"]]
    providers = ["CPUExecutionProvider"]
    _shift = bytearray(task.get("shift_bytes") or 0)  # kept, so that the runtime's buffers lie elsewhere in their pages
    feeds = [_feeds(np, component["inputs"]) for component in task["components"]]
    began = time.perf_counter_ns()
    empty = onnxruntime.InferenceSession(task["empty_model"], options_of({}), providers=providers)
    runtime_ms = (time.perf_counter_ns() - began) / 1e6  # a process pays it with its first session, whichever that is
    baseline = memory()
    dropped, why_not = drop_from_cache(task["files"]) if task["cold"] else (False, "")
    if not dropped:
        for name in task["files"]:
            read_whole(name)
    began = time.perf_counter_ns()
    sessions = [
        onnxruntime.InferenceSession(component["path"], options_of(own), providers=providers)
        for component, own in zip(task["components"], wanted, strict=True)
    ]
    load_ms = runtime_ms + (time.perf_counter_ns() - began) / 1e6
    del empty
    loaded = memory()
    pipeline = _Pipeline(sessions, task["components"], feeds)
    warmup = _warm_up(pipeline, task["warmup"])
    warmed = memory()  # the peak is taken here: later only the list of samples grows
    come_to_rest()
    timed = _Timed(pipeline, idle_watts_of_packages())
    print("ready", warmup.pop("run_ms"), warmed["peak"] or 0, file=answers, flush=True)
    for line in sys.stdin:
        done = timed.slice(float(line))
        come_to_rest()
        print(*done, file=answers, flush=True)
    ended = memory()
    result = {
        "load_ms": load_ms,
        "load_kind": "cold" if dropped else "warm",
        "cold_impossible": why_not,
        **timed.result(max(1, len(task["cpus"]))),
        "warmup": warmup,
        "memory": {"baseline": baseline, "loaded": loaded, "warmed": warmed, "end": ended},
        "session_options": {
            "intra_op_num_threads": task["threads"],
            "inter_op_num_threads": 1,
            "execution_mode": "sequential",
            "graph_optimization_level": "all",
            "cpus": task["cpus"],
            "providers": sessions[0].get_providers(),
            **({"components": wanted} if any(wanted) else {}),
        },
    }
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)


# In its second run the runtime lays its memory out by what the first one needed: a peak taken before is too low.
LEAST_RUNS = 2


class _Pipeline:
    """One inference runs every component once, cycling through the inputs and carrying recurrent state."""

    def __init__(self, sessions, components, feeds):
        self.parts: list[tuple[Any, list[Any], list[tuple[str, int]], dict[str, Any]]] = []
        for session, component, given in zip(sessions, components, feeds, strict=True):
            names = [output.name for output in session.get_outputs()]
            carried = [(name, names.index(output)) for name, output in component["carry"].items()]
            self.parts.append((session, given, carried, {}))

    def run(self, index):
        for session, feeds, carried, state in self.parts:
            feed = feeds[index % len(feeds)]
            if state:
                feed = {**feed, **state}
            outputs = session.run(None, feed)
            for name, position in carried:
                state[name] = outputs[position]


def _timed(pipeline, index):
    began = time.perf_counter_ns()
    pipeline.run(index)
    return (time.perf_counter_ns() - began) / 1e6


def _warm_up(pipeline, wanted):
    """At least the wanted runs and seconds, until the medians of two windows differ by less than the difference."""
    began, times, stable = time.perf_counter(), numbers("f"), False
    while True:
        times.append(_timed(pipeline, len(times)))
        seconds = time.perf_counter() - began
        if seconds > wanted["seconds_cap"] and len(times) >= LEAST_RUNS:
            break
        if len(times) < wanted["runs"] or seconds < wanted["seconds"]:
            continue
        half = max(wanted["window_runs"], len(times) // 4)
        if len(times) < 2 * half:
            continue
        last, before = _median(times[-half:]), _median(times[-2 * half : -half])
        stable = abs(last - before) <= wanted["difference"] * before
        if stable:
            break
    run_ms = _median(times[-max(wanted["window_runs"], len(times) // 4) :])
    return {"runs": len(times), "seconds": time.perf_counter() - began, "stable": stable, "run_ms": run_ms}


REWARM_S = 0.02  # what ran between two slices took the caches: so long runs are not timed, and one at least
SLOW_S = 0.5  # runs which are longer do not feel it


class _Timed:
    """The timed runs of a window, a slice at a time; what the machine did meanwhile counts in slices only."""

    def __init__(self, pipeline, idle_watts):
        self.pipeline, self.idle_watts = pipeline, idle_watts
        self.samples, self.slices, self.ran = numbers("f"), [], 0
        self.elapsed_ns = self.own_ns = self.waited_ns = self.throttled_ns = 0
        self.cpu_times: list[int] = []
        self.joules: float | None = 0.0
        self.last_ms = 0.0

    def slice(self, seconds):
        """(runs, seconds) of a slice: at least one run, and as many as begin within the seconds."""
        if self.last_ms < SLOW_S * 1000:
            began = time.perf_counter()
            while True:
                self._run()
                if time.perf_counter() - began >= REWARM_S:
                    break
        runs = len(self.samples)
        cpu_before, wait_before, throttled_before = _cpu_times(), _waited_ns(), throttled_ns()
        joules_before, own_before, elapsed_before = joules(), time.process_time_ns(), time.perf_counter_ns()
        end_ns = elapsed_before + seconds * 1e9
        while True:
            self.samples.append(self._run())
            if time.perf_counter_ns() >= end_ns:
                break
        elapsed_ns = time.perf_counter_ns() - elapsed_before
        self.elapsed_ns += elapsed_ns
        self.own_ns += time.process_time_ns() - own_before
        joules_after = joules()
        if self.joules is None or joules_before is None or joules_after is None or joules_after < joules_before:
            self.joules = None
        else:
            self.joules += joules_after - joules_before
        self.waited_ns += _waited_ns() - wait_before
        self.throttled_ns += throttled_ns() - throttled_before
        spent = [after - before for before, after in zip(cpu_before, _cpu_times(), strict=False)]
        self.cpu_times = [a + b for a, b in zip(self.cpu_times, spent, strict=True)] if self.cpu_times else spent
        self.slices.append(len(self.samples) - runs)
        return self.slices[-1], elapsed_ns / 1e9

    def _run(self):
        self.last_ms = _timed(self.pipeline, self.ran)
        self.ran += 1
        return self.last_ms

    def result(self, processors):
        """The part of the window's result which is about its slices; on so many processors it was allowed to run."""
        seconds, elapsed_ns = self.elapsed_ns / 1e9, max(1, self.elapsed_ns) * processors
        energy = None
        if self.joules is not None and self.idle_watts is not None and self.elapsed_ns:
            energy = {"joules": self.joules, "idle_watts": self.idle_watts, "seconds": seconds}
        return {
            "samples_ms": [round(sample, 6) for sample in self.samples],
            "slices": self.slices,
            "seconds": seconds,
            "cpu_ms": self.own_ns / 1e6,
            "energy": energy,
            "noise": {
                "steal_share": _share(self.cpu_times, 7),
                "load_average": os.getloadavg()[0],
                # A quota belongs to the device: who waits for the next period does not wait for others.
                "waited_share": max(0, self.waited_ns - self.throttled_ns) / elapsed_ns,
                "throttled_share": self.throttled_ns / elapsed_ns,
            },
        }


REST_S, REST_SHARE, REST_CAP_S = 0.005, 0.2, 0.5


def come_to_rest():
    """Wait until this process takes no processor: the runtime's threads turn some 50 ms for work which may come."""
    began = time.perf_counter()
    while time.perf_counter() - began < REST_CAP_S:
        wall, own = time.perf_counter(), time.process_time()
        time.sleep(REST_S)
        if time.process_time() - own < REST_SHARE * (time.perf_counter() - wall):
            return


def _median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def memory():
    """VmHWM (peak), RssAnon, RssFile and VmPeak (address space) of this process in bytes; None where it is not said."""
    found: dict[str, int | None] = {"peak": None, "anonymous": None, "file_backed": None, "space": None}
    keys = {"VmHWM": "peak", "RssAnon": "anonymous", "RssFile": "file_backed", "VmPeak": "space"}
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key in keys:
                    found[keys[key]] = int(value.split()[0]) * 1024
    except OSError:
        pass  # not Linux: the figures stay unknown and say so
    return found


def drop_from_cache(files):
    """(True, "") when none of the files' pages is in the page cache any more, else (False, why)."""
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return False, "this system cannot drop single files from its page cache"
    for name in files:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(descriptor).st_size
            buffer = bytearray(1)
            # A few pages over the file: a read which may not wait succeeds only from the cache.
            for offset in {0, size // 2, max(0, size - 1)} if size else ():
                try:
                    if os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT) > 0:
                        return False, "the file stayed in the page cache"
                except BlockingIOError:
                    continue
        except OSError as error:
            return False, f"the page cache cannot be asked here ({error.strerror})"
        finally:
            os.close(descriptor)
    return True, ""


def read_whole(name):
    with open(name, "rb") as file:
        while file.read(1 << 20):
            pass


def _cpu_times():
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return [int(field) for field in file.readline().split()[1:]]
    except OSError:
        return []


def _share(spent, field):
    """The part of all processor time that one field of /proc/stat took; None when it cannot be read."""
    if len(spent) <= field:
        return None
    total = sum(spent[:8])
    return spent[field] / total if total > 0 else 0.0


POWERCAP = "/sys/class/powercap"
IDLE_S = 0.5


def joules():
    """What the processor packages' own meters (RAPL) say in all; None where there are none, or they may not be read."""
    total, found = 0.0, False
    try:
        for name in os.listdir(POWERCAP):  # noqa: PTH208 (no pathlib: imports are part of the baseline)
            if name.startswith("intel-rapl:") and name.count(":") == 1:
                with open(f"{POWERCAP}/{name}/energy_uj", encoding="ascii") as file:
                    total, found = total + int(file.read()) / 1e6, True
    except (OSError, ValueError):
        return None
    return total if found else None


def idle_watts_of_packages():
    """The watts of the machine while this process rests; None without a meter."""
    before, began = joules(), time.perf_counter()
    if before is None:
        return None
    time.sleep(IDLE_S)
    after = joules()
    return None if after is None or after < before else (after - before) / (time.perf_counter() - began)


def _waited_ns():
    """Time in which threads of this process were ready to run and had no processor."""
    total = 0
    try:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 (no pathlib: imports are part of the baseline)
            with open(f"/proc/self/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return total


CGROUPS, OWN_CGROUPS = "/sys/fs/cgroup", "/proc/self/cgroup"


def throttled_ns():
    """Time for which the quota of this process's cgroup has stopped it; 0 where there is none, or nobody says."""
    try:
        with open(OWN_CGROUPS, encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
        for _, controllers, path in lines:
            if controllers and "cpu" not in controllers.split(","):
                continue
            key, unit = ("throttled_time", 1) if controllers else ("throttled_usec", 1000)  # version 1, version 2
            # In a container the path may be the host's: its own group is then the root of what is mounted.
            for folder in (path, ""):
                name = f"{CGROUPS}/{controllers}{folder}/cpu.stat"
                if not os.path.isfile(name):  # noqa: PTH113 (no pathlib: imports are part of the baseline)
                    continue
                with open(name, encoding="ascii") as file:
                    found = dict(line.split() for line in file)
                if key in found:
                    return int(found[key]) * unit
    except (OSError, ValueError):
        return 0
    return 0


def _feeds(np, path):
    with np.load(path, allow_pickle=False) as stored:
        feeds: list[dict[str, Any]] = [{} for _ in range(int(stored["count"]))]
        for key in stored.files:
            if key.startswith("s/"):
                for feed, array in zip(feeds, stored[key], strict=True):
                    feed[key[2:]] = np.asarray(array, object if array.dtype.kind == "U" else None)
    return feeds


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
