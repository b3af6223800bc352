"""Low-memory form: what the runtime is told when it loads the variant, kept where that is proven to save memory.

Without an arena memory goes back between inferences; without prepacking float weights stay as they were mapped. Which
of them pays differs from model to model, so each is tried in a process of its own. Bytes and results stay the same.
Source: onnxruntime's documentation of SessionOptions and of session configuration keys.
"""

from __future__ import annotations

from typing import Any

from onnx import ModelProto

from compression_service.engine import graph, runner
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.measure import options
from compression_service.engine.passes.base import PassContext, PassOutcome

SOURCE = "onnxruntime documentation: SessionOptions and session configuration keys"
NEEDS_FLOAT_SOURCE = False
DEFAULTS: dict[str, Any] = {
    "tried": (
        {"enable_cpu_mem_arena": False},
        {"enable_mem_pattern": False},
        {"enable_cpu_mem_arena": False, "enable_mem_pattern": False},
        {"enable_cpu_mem_arena": False, "session.disable_prepacking": "1"},
    ),
    "least_saving": 0.03,  # of the process's peak, the spread of such figures
    "most_slowdown": 0.5,
}
SMALLEST_BYTES = 1024 * 1024  # of a smaller network the runtime itself takes nearly all memory
RUNS = 12


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    weights = sum(graph.tensor_bytes(tensor) for tensor in graph.initializers(model))
    if weights < SMALLEST_BYTES:
        return f"Session options pay from {SMALLEST_BYTES:,} bytes of weights on; there are {weights:,}."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: those of DEFAULTS; the outcome's are the options which were kept, and what each came to."""
    params = DEFAULTS | params
    for wanted in params["tried"]:
        if why := options.problem(wanted):
            raise NotApplicableError(why)
    if not context.calibration:
        raise NotApplicableError("Session options are tried with calibration inputs, and none could be made.")
    path = context.work / "weighed.onnx"
    graph.save(model, path, external=True)
    runner.save_feeds(context.calibration[:RUNS], context.work / "weighed-in.npz")
    plain = _weighed({}, context)
    if plain["peak_bytes"] is None:
        raise NotApplicableError("This machine does not tell the peak memory of a process, so nothing can be proven.")
    found = [(wanted, _weighed(wanted, context)) for wanted in params["tried"]]
    most_ms = plain["run_ms"] * (1 + params["most_slowdown"])
    wanted, best = min(found, key=lambda one: (one[1]["run_ms"] > most_ms, one[1]["peak_bytes"]))
    saved = 1 - best["peak_bytes"] / plain["peak_bytes"]
    if best["run_ms"] > most_ms or saved < params["least_saving"]:
        raise NotApplicableError(
            f"No session option saves {params['least_saving']:.0%} of the memory at most {params['most_slowdown']:.0%}"
            f" slower: {plain['peak_bytes'] / 1e6:.1f} MB as it is, {best['peak_bytes'] / 1e6:.1f} MB at best."
        )
    words = ", ".join(f"{name}={str(value).lower()}" for name, value in wanted.items())
    words += f": {saved:.0%} less memory at the peak, {best['run_ms'] / plain['run_ms'] - 1:+.0%} processor time"
    return PassOutcome(model, words, params | {"kept": wanted}, external=True, session_options=dict(wanted))


def _weighed(wanted: dict[str, Any], context: PassContext) -> dict[str, Any]:
    """{"peak_bytes" of the process, "run_ms" of processor time} with these options, in a fresh process."""
    task = {
        "act": "weigh", "path": str(context.work / "weighed.onnx"), "inputs": str(context.work / "weighed-in.npz"),
        "session_options": wanted, "runs": RUNS,
    }  # fmt: skip
    return runner.in_fresh_process(task, context.work, "weigh")
