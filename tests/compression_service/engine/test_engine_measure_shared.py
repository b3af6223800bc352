"""The measuring module which worker and client share: self-contained, its models as bytes, its limits real."""

from __future__ import annotations

import ast
import json
import sys
import time

import engine_models as models
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compression_service.engine import runner
from compression_service.engine.inputs import Request
from compression_service.engine.measure import bench, feeds, harness, machine, networks, session
from compression_service.engine.measuring import measure
from compression_service.selection import ladders
from tests.live.hub_process import PROJECT

FOLDER = PROJECT / "compression_service" / "engine" / "measure"


def test_the_module_imports_itself_numpy_and_onnxruntime_only():
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime"}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            outside = [name for name in names if name.partition(".")[0] not in allowed]
            assert not outside, f"{path.name} imports {outside}"


def test_the_empty_model_is_what_onnx_would_write():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", [value], [out])
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    assert built.SerializeToString(deterministic=True) == session.EMPTY_MODEL


def test_the_product_is_a_valid_model_with_the_right_answer():
    weights = np.eye(bench.SIDE, dtype=np.float32) * 3
    made = onnx.load_from_string(networks.product_model("MatMul", (networks.FLOAT,) * 3, weights.tobytes(), bench.SIDE))
    onnx.checker.check_model(made, full_check=True)
    x = np.random.default_rng(0).random((bench.SIDE, bench.SIDE), np.float32)
    import onnxruntime

    run = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(run.run(None, {"x": x})[0], 3 * x)


def test_a_chain_is_a_valid_model_with_the_right_answer():
    side, scales = 16, (2, 3, 5)
    weights = [(np.eye(side, dtype=np.float32) * scale).tobytes() for scale in scales]
    made = onnx.load_from_string(networks.chain_model(weights, side))
    onnx.checker.check_model(made, full_check=True)
    x = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    import onnxruntime

    run = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(run.run(None, {"x": x})[0], 30 * np.maximum(x, 0))


def test_a_machine_is_measured_in_far_less_than_half_a_minute(tmp_path, monkeypatch):
    found = bench.measure(tmp_path)
    one = found["threads"]["1"]
    assert found["seconds"] < 30 and min(one[key] for key in ("fp32_gflops", "int8_gops", "copy_gb_s")) > 0
    assert 0 < one["share"] <= 1 and bool(one["stretch"]) == (one["share"] < 1)
    ladder = ladders.known(one["ladder"])
    assert [rung.side for rung in ladder] == list(bench.LADDER_SIDES)
    assert all(rung.typical_ms <= rung.slow_ms for rung in ladder) and ladder[-1].typical_ms > ladder[0].typical_ms
    assert not list(tmp_path.iterdir())


def test_pauses_are_no_part_of_what_a_run_takes(monkeypatch):
    """Of a quota: every third run stops for 10 ms, and so does the clock of its processor."""
    runs = []

    def run():
        runs.append(0)
        while time.process_time() - began[0] < 1e-3:
            pass
        if len(runs) % 3 == 0:
            time.sleep(0.01)
        began[0] = time.process_time()

    began = [time.process_time()]
    typical, mean, slow = bench._typical_and_slow_ms(run, 1)
    assert 0.5 < typical <= slow < 5 and mean < 5


def test_a_machine_which_is_too_busy_is_said_to_be_and_costs_no_records(tmp_path, monkeypatch, mlp_task):
    monkeypatch.setattr(bench, "PATIENCE_S", 0.01)
    with pytest.raises(RuntimeError, match="too busy to be measured"):
        bench.measure(tmp_path)
    said = []
    taken = measure(mlp_task | {"bench": True}, Request(), tmp_path / "work", lambda _done, words: said.append(words))
    assert taken["records"] and "measured" not in taken["device"]
    assert any("too busy" in words for words in said)


def quota(burst_ms: float, pause_ms: float, run_ms: float = 0.05, seconds: float = 3.0) -> list[tuple[float, float]]:
    """Runs one after the other (wall, processor time in s) where every burst is followed by a pause."""
    spans, since = [], 0.0
    for _ in range(int(seconds * 1e3 * burst_ms / (burst_ms + pause_ms) / run_ms)):
        since += run_ms
        stopped = pause_ms if since >= burst_ms else 0.0
        since = 0.0 if stopped else since
        spans.append(((run_ms + stopped) / 1e3, run_ms / 1e3))
    return spans


def test_a_quota_stretches_what_is_longer_than_its_burst_and_nothing_else():
    found = bench.stretch(np, quota(burst_ms=2.0, pause_ms=8.0))
    assert found["share"] == pytest.approx(0.2, rel=0.02)
    walls = dict(map(tuple, found["stretch"]))
    for own, wall in walls.items():
        if own < 0.15:  # less than a tenth of them meet a pause
            assert wall == own
        elif own > 0.25:
            # Whole bursts, and one pause more when a tenth of the places or more begin so late.
            pauses = {int(own / 2), int(own / 2) + 1}
            assert any(abs(wall - own - 8 * count) < 0.1 for count in pauses), (own, wall)
    assert max(walls) > 100 and walls[max(walls)] / max(walls) == pytest.approx(5, rel=0.05)


def test_without_pauses_nothing_is_stretched():
    assert bench.stretch(np, [(5e-5, 5e-5)] * 1000) == {"share": 1.0, "stretch": []}
    jitter = [(5e-5 + (1e-4 if i % 7 == 0 else 0), 5e-5) for i in range(1000)]
    assert bench.stretch(np, jitter)["stretch"] == [], "interrupts are no limit"


def write_cgroup(tmp_path, monkeypatch, lines: str, files: dict[str, str]):
    (tmp_path / "own").write_text(lines)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for module in (harness, machine):
        monkeypatch.setattr(module, "OWN_CGROUPS", type(module.OWN_CGROUPS)(tmp_path / "own"))
        monkeypatch.setattr(module, "CGROUPS", type(module.CGROUPS)(tmp_path / "groups"))


V2, V1 = "0::/app\n", "9:name=systemd:/x\n2:cpuacct,cpu:/app\n0::/\n"


@pytest.mark.parametrize(
    ("lines", "files", "wanted"),
    [
        (V2, {"app/cpu.max": "50000 100000\n"}, 0.5),
        (V2, {"cpu.max": "150000 100000\n"}, 1.5),  # a container's own group is the root of what it sees
        (V2, {"app/cpu.max": "max 100000\n"}, None),
        (V1, {"cpuacct,cpu/app/cpu.cfs_quota_us": "20000", "cpuacct,cpu/app/cpu.cfs_period_us": "100000"}, 0.2),
        (V1, {"cpuacct,cpu/app/cpu.cfs_quota_us": "-1", "cpuacct,cpu/app/cpu.cfs_period_us": "100000"}, None),
        (V2, {}, None),
        ("", {}, None),
    ],
)
def test_the_quota_of_processor_time_is_read_and_belongs_to_the_device_s_name(
    tmp_path, monkeypatch, lines, files, wanted
):
    write_cgroup(tmp_path, monkeypatch, lines, files)
    assert machine.cpu_quota() == wanted
    name = machine.device_name("EPYC", "AuthenticAMD", 2, wanted)
    assert name == ("amd-epyc-2c" if wanted is None else f"amd-epyc-2c-{wanted:g}cpu")
    assert machine.device_name("EPYC", "AuthenticAMD", 2, 2.0) == "amd-epyc-2c", "a quota of all cores limits nothing"


@pytest.mark.parametrize(
    ("lines", "files", "wanted"),
    [
        (V2, {"app/cpu.stat": "usage_usec 5\nnr_throttled 2\nthrottled_usec 7\n"}, 7000),
        (V2, {"cpu.stat": "usage_usec 5\n"}, 0),
        (V1, {"cpuacct,cpu/app/cpu.stat": "nr_periods 3\nthrottled_time 4500\n"}, 4500),
        (V1, {}, 0),
        ("", {}, 0),
    ],
)
def test_what_a_quota_stopped_is_told_from_what_other_work_took(tmp_path, monkeypatch, lines, files, wanted):
    write_cgroup(tmp_path, monkeypatch, lines, files)
    assert harness.throttled_ns() == wanted


@pytest.fixture
def mlp_task(tmp_path):
    models.saved(models.mlp(), tmp_path / "source" / "model.onnx")
    source = {"root": str(tmp_path / "source"), "components": [{"name": "model", "path": "model.onnx"}]}
    return {"source": source, "variants": [], "seconds": 0.05, "seconds_cap": 0.05, "threads": [1]}


@pytest.fixture
def subject(tmp_path):
    path = models.saved(models.mlp(), tmp_path / "model.onnx")
    made = np.zeros((1, 8), np.float32)
    feeds.save([{"x": made}], tmp_path / "feeds-0.npz")
    (tmp_path / "carry-0.json").write_text("{}")
    return session.Subject("onnx", tmp_path, [{"name": "model", "path": "model.onnx"}], [], [path])


def test_a_variant_runs_within_a_limit_and_not_within_one_that_is_too_low(tmp_path, subject):
    models_input = onnx.load(str(subject.paths[0])).graph.input[0]
    shape = [dim.dim_value or 1 for dim in models_input.type.tensor_type.shape.dim]
    feeds.save([{models_input.name: np.zeros(shape, np.float32)}], tmp_path / "feeds-0.npz")
    run = session._Session(tmp_path, 0.2, None)
    subject.windows = [run.window(subject, threads=1, cold=False)]
    peak = subject.windows[0]["memory"]["warmed"]["peak"]
    proven = run.within(subject, 1, {"peak_memory_bytes": peak})
    assert proven["bytes"] >= peak and "rlimit" in proven["by"]
    assert isinstance(run.window(subject, 1, cold=False, limit_bytes=peak // 2), str)


def test_energy_of_the_processors_own_meter_leaves_idle_out(tmp_path, monkeypatch):
    for package, microjoules in (("intel-rapl:0", 2_000_000), ("intel-rapl:0:0", 999), ("other", 5)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text(f"{microjoules}\n")
    monkeypatch.setattr(harness, "POWERCAP", str(tmp_path))
    assert harness.joules() == 2.0  # sub-domains are part of their package
    windows = [{"energy": {"joules": 30.0, "idle_watts": 10.0, "seconds": 2.0}}] * 2
    assert session._energy(windows, 100)["mj"] == pytest.approx(200.0)
    assert session._energy([*windows, {"energy": None}], 100) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.sampled_from(["float32", "float16", "int64", "int8", "uint8", "bool"]),
    st.integers(0, 2**31),
)
def test_inputs_made_again_have_the_shape_type_and_range_of_those_which_were_fed(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    fed = [rng.integers(0, 50, shape).astype(dtype) for _ in range(3)]
    wanted = {"x": feeds.described(fed[0], fed)}
    for feed in feeds.made_again(wanted, 2, seed):
        array = np.asarray(feed["x"])
        assert array.shape == tuple(shape) and array.dtype == np.dtype(dtype)
        if "range" in wanted["x"]:
            low, high = wanted["x"]["range"]
            assert (array.astype(float) >= low - 1e-2).all() and (array.astype(float) <= high + 1e-2).all()


@pytest.mark.parametrize("wanted", [{}, {"shape": "x", "dtype": "int8"}, {"shape": [1], "dtype": "no such"}, None])
def test_a_description_which_says_nothing_is_refused(wanted):
    with pytest.raises(feeds.FeedError, match="does not say"):
        feeds.made_again({"x": wanted}, 1)


def test_the_runner_reads_what_is_saved(tmp_path):
    mixed = [{"x": np.zeros((1, n), np.int64)} for n in (1, 2)]
    feeds.save(mixed, tmp_path / "f.npz")
    assert [feed["x"].shape for feed in runner.load_feeds(tmp_path / "f.npz")] == [(1, 1), (1, 2)]


def window(p50_ms: float, kind: str = "warm") -> dict:
    point = {"peak": 5, "baseline": {"peak": 3}, "anonymous": 1, "file_backed": 1}
    return {
        "samples_ms": [p50_ms] * 40, "slices": [40], "load_ms": 2.0, "load_kind": kind, "cold_impossible": "", "seconds": 1.0, "cpu_ms": 40 * p50_ms,
        "energy": None, "memory": dict.fromkeys(("baseline", "loaded", "warmed", "end"), point), "noise": {},
        "warmup": {"runs": 10, "seconds": 1.0, "stable": True}, "session_options": {"providers": ["CPUExecutionProvider"]},
    }  # fmt: skip


def test_every_window_has_a_layout_of_memory_of_its_own(tmp_path, subject, monkeypatch):
    run, shifts = session._Session(tmp_path, 0.2, None), []
    for _ in range(3):
        run.window(subject, threads=1, cold=False)
        shifts.append(json.loads((tmp_path / f"window-{run.number}.json").read_text())["shift_bytes"])
    assert len(set(shifts)) == 3


def session_of(tmp_path, subject, monkeypatch, *p50_ms: tuple[float, float]):
    """A session whose turns bring windows of the source and of one variant with these medians."""
    variant = session.Subject("v", tmp_path, subject.components, [], subject.model_files)
    run, more = session._Session(tmp_path, 0.2, None), iter(p50_ms)

    def take(yardstick, others, started, *, yardstick_last):
        of_source, own = next(more)
        kind = "warm" if yardstick_last else "cold"
        return {yardstick.name: window(of_source, kind)} | {one.name: window(own, kind) for one in others}

    monkeypatch.setattr(session.windows, "take", take)
    monkeypatch.setattr(session, "_window_noise", lambda _window: [])
    return run.run(subject, [variant], 1, lambda _done, _message: None), variant, more


def test_windows_with_an_unlucky_layout_are_set_aside_and_said(tmp_path, subject, monkeypatch):
    turns = [(1.0, 1.8), (1.0, 1.01), (1.0, 1.0), (1.0, 1.02), (1.0, 1.9)]
    drift, variant, _ = session_of(tmp_path, subject, monkeypatch, *turns)
    found = session._figures(variant)
    assert found["windows"] == {"count": 5, "odd": 2} and not drift["redone"]
    assert found["latency_ms"]["p90"] < 1.1 and found["load_ms"]["cold"] == 2.0


def test_windows_which_agree_are_left_alone(tmp_path, subject, monkeypatch):
    _, variant, more = session_of(tmp_path, subject, monkeypatch, (1.0, 1.0), (1.0, 1.05), (9.0, 9.0))
    assert session._figures(variant)["windows"] == {"count": 2, "odd": 0}
    assert next(more) == (9.0, 9.0), "no more windows are needed"


def test_what_slows_the_source_too_is_no_layout(tmp_path, subject, monkeypatch):
    """Both took half as long again, so the session is taken once more; then both are as they were."""
    turns = [(1.0, 2.0), (1.5, 3.0), (1.0, 2.0), (1.02, 2.04)]
    drift, variant, _ = session_of(tmp_path, subject, monkeypatch, *turns)
    assert drift["redone"] and not drift["noisy"]
    assert session._figures(variant)["windows"] == {"count": 2, "odd": 0}
