"""Second moments of what layers see on calibration inputs: the Hessians of GPTQ, SparseGPT and of least-squares repair.

For a layer Y = X·W the squared error of a changed weight is tr((W−Ŵ)ᵀ XᵀX (W−Ŵ)); XᵀX is all that a closed-form pass
needs to know of the data (Hassibi & Stork 1992, "Optimal Brain Surgeon"; Frantar & Alistarh 2022, arXiv 2208.11580).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper

from compression_service.engine import graph, memo
from compression_service.engine.calibration.augment import Growing
from compression_service.engine.memo import Memo
from compression_service.engine.runner import RESTING

Feed = dict[str, np.ndarray]
ROWS = 2**18  # of a layer over all inputs: a convolution sees every position, and more of them teach nothing new
ROWS_A_FEED = (256, 4096)  # least and most
FEWEST_FEEDS, ROWS_AN_UNKNOWN = 256, 16  # after so many inputs, and rows for each column, a layer is known well enough
GATHERED_ROWS = 4096
GROUP_LIMIT_BYTES = 768 * 1024 * 1024


@dataclass
class Moments:
    """gram: XᵀX [K, K] (float64), total: the sum of the rows of X [K], count: how many rows."""

    gram: np.ndarray
    total: np.ndarray
    count: int = 0
    waiting: list[np.ndarray] = field(default_factory=list)

    def add(self, rows: np.ndarray) -> None:
        """Rows [R, K]; they are gathered, for one large product costs far less than many small ones."""
        self.waiting.append(rows)
        self.count += len(rows)
        if sum(map(len, self.waiting)) >= GATHERED_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            rows = np.concatenate(self.waiting)
            if self.gram.size:
                self.gram += rows.T @ rows
            self.total += rows.sum(0, dtype=np.float64)
            self.waiting = []


Rows = Callable[[np.ndarray, int], np.ndarray]  # a layer's input tensor → its rows [R, K], of them at most so many
Taps = dict[str, tuple[str, int, Rows]]  # key → (tensor of the main graph, K, its rows)


def moments(
    model: ModelProto, taps: Taps, feeds: Sequence[Feed], work: Path, seconds_cap: float, kept: Kept | None = None
) -> dict[str, Moments]:
    """{key: moments of the tensor's rows} for taps {key: (tensor name of the main graph, K, rows)}.

    Runs the model with the tensors as further outputs, in as many passes over the feeds as keep the matrices below
    GROUP_LIMIT_BYTES. Stops early at `seconds_cap` once every group has seen at least one feed. A layer which has seen
    FEWEST_FEEDS inputs and ROWS_AN_UNKNOWN rows for each of its columns sees no more. Tensors which cannot be given
    out, or are not float, are left out of the answer. `kept`: what other recipes have seen is not looked for again.
    """
    if kept is not None and kept.memo.folder is not None:
        return kept.moments(model, taps, feeds, lambda: moments(model, taps, feeds, work, seconds_cap))
    found: dict[str, Moments] = {}
    groups = list(_groups(taps))
    for group in groups:
        found.update(_of_group(model, group, feeds, work, seconds_cap / len(groups)))
    return found


@dataclass(frozen=True)
class Kept:
    """Moments which recipes of one source share. `scope`: the pass, which says what rows a tap has, and the inputs."""

    memo: Memo
    scope: str

    def moments(
        self, model: ModelProto, taps: Taps, feeds: Sequence[Feed], see: Callable[[], dict[str, Moments]]
    ) -> dict[str, Moments]:
        """Those which an earlier recipe has seen of the same model with the same taps, else what `see` finds."""
        if graph.is_streamed(model):
            return see()
        digest = memo.of_bytes(model.SerializeToString(deterministic=True))
        key = memo.key("moments", self.scope, digest, [[name, *tap[:2]] for name, tap in taps.items()])
        entry = self.memo.find(key)
        if entry is not None:
            return _read(entry, feeds)
        found = see()
        asked = feeds.asked if isinstance(feeds, Growing) else len(feeds)
        self.memo.keep(key, partial(_write, found, asked))
        return found


def _write(found: dict[str, Moments], asked: int, folder: Path) -> None:
    (folder / "names.json").write_text(json.dumps({"asked": asked, "names": list(found)}), encoding="utf-8")
    for number, one in enumerate(found.values()):
        np.savez(folder / f"{number}.npz", gram=one.gram, total=one.total, count=np.int64(one.count))


def _read(folder: Path, feeds: Sequence[Feed]) -> dict[str, Moments]:
    said = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    if isinstance(feeds, Growing):
        feeds.were_asked(said["asked"])
    found = {}
    for number, name in enumerate(said["names"]):
        with np.load(folder / f"{number}.npz") as stored:
            found[name] = Moments(stored["gram"], stored["total"], int(stored["count"]))
    return found


def means(
    model: ModelProto, taps: Taps, feeds: Sequence[Feed], work: Path, seconds_cap: float
) -> dict[str, np.ndarray]:
    """{key: the mean row [K]} for taps as `moments` takes them, without the matrices."""
    found = _of_group(model, taps, feeds, work, seconds_cap, with_gram=False)
    return {key: one.total / one.count for key, one in found.items() if one.count}


def _groups(taps: Taps) -> Iterator[Taps]:
    group: Taps = {}
    used = 0
    for key, tap in taps.items():
        needed = tap[1] ** 2 * 8
        if group and used + needed > GROUP_LIMIT_BYTES:
            yield group
            group, used = {}, 0
        group[key], used = tap, used + needed
    if group:
        yield group


def _of_group(
    model: ModelProto, taps: Taps, feeds: Sequence[Feed], work: Path, seconds_cap: float, with_gram: bool = True
) -> dict[str, Moments]:
    inputs = {value.name for value in model.graph.input}
    wanted = sorted({name for name, _, _ in taps.values()})
    session = _tapped(model, [name for name in wanted if name not in inputs], work)
    asked = [name for name in wanted if name not in inputs]
    found: dict[str, Moments] = {}
    began, most = time.monotonic(), int(np.clip(-(-ROWS // max(1, len(feeds))), *ROWS_A_FEED))
    for index, feed in enumerate(feeds):
        if index and time.monotonic() - began > seconds_cap:
            break
        open_taps = {key: tap for key, tap in taps.items() if index < FEWEST_FEEDS or not _is_known(found.get(key))}
        if not open_taps:
            break
        names = [name for name in asked if any(name == tap[0] for tap in open_taps.values())]
        seen = dict(zip(names, session.run(names, feed), strict=True)) if names else {}
        for key, (name, width, rows) in open_taps.items():
            value = seen.get(name, feed.get(name))
            if value is None or value.dtype.kind != "f":
                continue
            _add(found, key, rows(value.astype(np.float32, copy=False), most), width, with_gram)
    for one in found.values():
        one.flush()
    return found


def _is_known(one: Moments | None) -> bool:
    """Well enough; nothing will come of what could not be read so far."""
    return one is None or one.count >= ROWS_AN_UNKNOWN * len(one.total)


def _add(found: dict[str, Moments], key: str, rows: np.ndarray, width: int, with_gram: bool) -> None:
    if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all():
        return
    one = found.get(key)
    if one is None:
        one = found[key] = Moments(np.zeros((width, width) if with_gram else (0, 0)), np.zeros(width))
    one.add(np.array(rows))


def _tapped(model: ModelProto, names: list[str], work: Path) -> Any:
    """A session of the model which gives the named tensors out too; nothing is fused away in front of them."""
    import onnxruntime

    copy = ModelProto()
    copy.CopyFrom(model)
    there = {value.name for value in copy.graph.output}
    for name in names:
        if name not in there:
            copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.add_session_config_entry(*RESTING)
    path = work / "tapped.onnx"
    graph.save(copy, path, scratch=True)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def matrix_rows(value: np.ndarray, most: int) -> np.ndarray:
    """[…, K] → [R, K]: what a MatMul or Gemm multiplies with its weight, evenly thinned to `most` rows."""
    rows = value.reshape(-1, value.shape[-1])
    return rows[:: -(-len(rows) // most)] if len(rows) > most else rows


def convolution_rows(node: NodeProto, kernel: tuple[int, ...]) -> Rows:
    """[N, C, H, W] (or [N, C, L]) → [R ≤ most, C × kernel], in the order of a Conv weight [M, C, *kernel]."""
    spatial = len(kernel)
    strides = list(graph.attribute(node, "strides", [1] * spatial))
    dilations = list(graph.attribute(node, "dilations", [1] * spatial))
    pads = list(graph.attribute(node, "pads", [0] * 2 * spatial))
    same = graph.attribute(node, "auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")

    def rows(value: np.ndarray, most: int) -> np.ndarray:
        before, after = pads[:spatial], pads[spatial:]
        if same:
            spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
            before, after = [span // 2 for span in spans], [span - span // 2 for span in spans]
        padded = np.pad(value, [(0, 0), (0, 0), *zip(before, after, strict=True)])
        reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
        axes = tuple(range(2, 2 + spatial))
        windows: Any = np.lib.stride_tricks.sliding_window_view(padded, reach, axes)
        windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
        windows = windows[(..., *(slice(None, None, d) for d in dilations))]
        positions = int(np.prod(windows.shape[2 : 2 + spatial])) * len(value)
        flat = np.moveaxis(windows, 1, 1 + spatial)  # [N, *positions, C, *kernel]
        if positions > most:  # before the copy, which is kernel times the image
            step = -(-positions // most)
            index = np.arange(0, positions, step)
            where = np.unravel_index(index, flat.shape[: 1 + spatial])
            return flat[where].reshape(len(index), -1)
        return flat.reshape(positions, -1)

    return rows
