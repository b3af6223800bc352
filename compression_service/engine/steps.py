"""A recipe's steps over one component, from where an earlier recipe with the same first steps came to."""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import ModelProto

from compression_service.engine import graph, memo, streamed
from compression_service.engine.applicability import PASSES, choices
from compression_service.engine.errors import NotApplicableError, first_line
from compression_service.engine.memo import Memo
from compression_service.engine.passes.base import PassContext, PassOutcome
from compression_service.engine.recipes import RECIPES, Recipe, Step

WORTH_KEEPING_S = 1.0  # of processor time since the last kept step
KEPT_LIMIT_BYTES = 512 * 1024**2


@dataclass
class Done:
    """A component after some steps: one entry in `passes` for each of them, done or not."""

    model: ModelProto
    passes: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    external: bool = False  # its weights go to a file beside the graph
    failure: str = ""  # why a tool failed, the first time
    session_options: dict[str, Any] = field(default_factory=dict)


def walk(one: Recipe, name: str, model: ModelProto, source: ModelProto, context: PassContext, kept: Memo) -> Done:
    """All steps of the recipe on the component `name`. `source` is as it was converted, `model` with 32-bit floats."""
    streams = graph.is_streamed(model)
    if streams:
        kept = Memo()
    keys = _keys(one, name, source, context) if kept.folder is not None else []
    done = _resumed(keys, kept) or Done(model)
    spent = processor_s()
    for position, step in enumerate(one.steps[len(done.passes) :], len(done.passes)):
        outcome, entry, problem = _step(step, name, done.model, context)
        if position == 0 and model is not source:
            entry["changed"] = f"64-bit floats in 32 bits first; {entry['changed']}"
        done.passes.append(entry)
        done.failure = done.failure or problem
        if outcome is not None:
            done.model, done.changed, done.external = outcome.model, True, done.external or outcome.external
            done.session_options |= outcome.session_options
            if streams:
                done.model = streamed.spill(done.model, graph.tensors(done.model))
        if keys and processor_s() - spent > WORTH_KEEPING_S and _is_shared(one, position + 1):
            _keep(keys[position], done, kept)
            spent = processor_s()
    return done


def processor_s() -> float:
    """Processor time of this process and of the children which have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _keys(one: Recipe, name: str, source: ModelProto, context: PassContext) -> list[str]:
    """One for each step: what the component is after it depends on."""
    steps = one.as_json()["steps"]
    given: list[Any] = [
        name,
        memo.of_bytes(source.SerializeToString(deterministic=True)),
        memo.of_feeds(context.calibration),
    ]
    given += [context.seed, context.vnni]
    return [memo.key("steps", given, steps[: position + 1]) for position in range(len(steps))]


def _is_shared(one: Recipe, count: int) -> bool:
    """Whether another of the engine's recipes begins with the same steps, and goes on."""
    return any(other.name != one.name and other.steps[:count] == one.steps[:count] for other in RECIPES)


def _resumed(keys: list[str], kept: Memo) -> Done | None:
    for key in reversed(keys):
        entry = kept.find(key)
        if entry is None:
            continue
        state = json.loads((entry / "done.json").read_text(encoding="utf-8"))
        return Done(graph.load(entry / "model.onnx"), **state)
    return None


def _keep(key: str, done: Done, kept: Memo) -> None:
    if done.failure or done.model.ByteSize() > KEPT_LIMIT_BYTES:  # a tool may fail once, for want of memory or time
        return

    def write(folder: Path) -> None:
        graph.save(done.model, folder / "model.onnx", scratch=True)
        state = {"passes": done.passes, "changed": done.changed, "external": done.external}
        state["session_options"] = done.session_options
        (folder / "done.json").write_text(json.dumps(state), encoding="utf-8")

    kept.keep(key, write)


def _step(
    step: Step, name: str, current: ModelProto, context: PassContext
) -> tuple[PassOutcome | None, dict[str, Any], str]:
    """The first pass of the step which works: (outcome, its entry in the result, "" or why a tool failed)."""
    failure = ""
    reasons: list[str] = []
    entry: dict[str, Any]
    for chosen in choices(step, graph.normalise(current)):
        if chosen.name is None:
            reasons.append(chosen.reason)
            continue
        began = time.perf_counter()
        try:
            outcome: PassOutcome = PASSES[chosen.name].apply(current, dict(chosen.params), context)
        except NotApplicableError as error:
            reasons.append(error.reason)
            continue
        except Exception as error:  # a tool's own failure is an answer for the contributor, the log has the rest
            traceback.print_exc(file=sys.stderr)
            failure = f"The pass {chosen.name} failed on {name}: {first_line(error)}"
            reasons.append(failure)
            continue
        seconds = round(time.perf_counter() - began, 3)
        entry = {"pass": chosen.name, "source": PASSES[chosen.name].SOURCE, "params": outcome.params}
        entry |= {"component": name, "changed": outcome.changed, "seconds": seconds, "layers": outcome.layers}
        return outcome, entry, ""
    entry = {"pass": None, "source": "", "params": {}, "component": name, "changed": " ".join(dict.fromkeys(reasons))}
    entry |= {"seconds": 0.0, "layers": []}
    return None, entry, failure
