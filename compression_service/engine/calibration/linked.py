"""Feeds out of a linked dataset: calibration and evaluation rows which never overlap, and what is right for the latter.

Too few calibration rows are augmented, from calibration rows alone; an input which is in both is taken out of the
calibration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine import memo
from compression_service.engine.calibration import augment, mapping, rows, sequences, texts
from compression_service.engine.calibration.settings import Settings
from compression_service.engine.calibration.settings import read as read_settings
from compression_service.engine.calibration.truths import truth_of
from compression_service.engine.fidelity.truth import Truth

EVALUATION_ROWS = 1000
CALIBRATION_ROWS = 200
FEW_ROWS = 32
LEAST_ROWS = 4
FEEDS_LIMIT_BYTES = 192 * 1024 * 1024
NARROW_ROWS = 256

Feed = dict[str, np.ndarray]
Rows = tuple[rows.Table, list[int]]


@dataclass
class Component:
    """What is known of a model which takes the rows: specs of its inputs, its outputs' specs, carried states."""

    specs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    carry: dict[str, str]


@dataclass
class Linked:
    """Feeds of every component, calibration and evaluation."""

    feeds: dict[str, tuple[list[Feed], list[Feed]]]
    words: str
    steps: int = 1
    truth: Truth | None = None
    notes: list[str] = field(default_factory=list)
    missing: str = ""  # the card's label, which is no column


def read(
    dataset: Path,
    components: dict[str, Component],
    block: dict[str, Any],
    seed: int,
    tokenizer: Path | None,
    config: dict[str, Any],
    processor: dict[str, Any],
    stated: dict[str, str] | None = None,
) -> Linked:
    """Rows of the dataset for all components. `block`: the card's, `config`: config.json, `processor`:
    preprocessor_config.json, `stated`: file → split as the dataset's own card says. A ValueError ends the sentence
    "the linked dataset was not used"."""
    settings = read_settings(block)
    wrong = [problem for problem in settings.problems if problem.startswith("fithub.preprocessing")]
    if wrong:
        raise ValueError(wrong[0].removesuffix("; preprocessing was left out"))
    notes = [f"{problem}." for problem in settings.problems]
    tables = rows.read(dataset, seed, stated)
    if sum(map(len, tables.values())) < LEAST_ROWS:
        tables, note = sequences.in_pieces(tables, settings)
        notes += [note] if note else []
    calibration, evaluation, words = split(tables, seed, settings)
    sound = sequences.sound_column(evaluation[0], settings)
    if sound is not None:
        made = sequences.read(components, (calibration, evaluation), sound, settings, processor, seed)
        linked = Linked(made.feeds, f"{words}; {made.words} (column {sound})", made.steps, made.truth, made.notes)
    else:
        linked = _of_rows(components, (calibration, evaluation), block, settings, tokenizer, config, processor, seed)
        linked.words = f"{words}; {linked.words}"
    if settings.label is not None and settings.label not in evaluation[0].columns:
        linked.missing = settings.label
        notes.append(f"The dataset has no column {settings.label!r}, which the card names as label.")
    linked.notes = [*notes, *linked.notes]
    judged = min(len(one[1]) for one in linked.feeds.values())
    if judged < NARROW_ROWS:
        linked.notes.append(f"Only {judged} inputs were there to judge on: the figures are rough.")
    return linked


def split(tables: dict[str, rows.Table], seed: int, settings: Settings | None = None) -> tuple[Rows, Rows, str]:
    """(calibration rows, evaluation rows, words): never the same row in both."""
    wanted = settings or Settings()
    most_calibration = wanted.calibration.get("rows", CALIBRATION_ROWS)
    most_evaluation = wanted.evaluation.get("rows", EVALUATION_ROWS)
    rng = np.random.default_rng(seed)
    for part in (wanted.calibration, wanted.evaluation):
        if part.get("split", next(iter(tables))) not in tables:
            raise ValueError(f"the card names its split {part['split']} and it has {', '.join(sorted(tables))}")
    train, validation, test = (tables.get(name) for name in ("train", "validation", "test"))
    if train is None and test is not None:
        train, validation = validation, None
    held_back = test if test is not None else validation
    if "split" in wanted.calibration:
        train = tables[wanted.calibration["split"]]
    if "split" in wanted.evaluation:
        held_back = tables[wanted.evaluation["split"]]
    if train is not None and held_back is not None and train is not held_back and len(train) and len(held_back):
        calibration = rng.permutation(len(train))[:most_calibration]
        evaluation = np.sort(rng.permutation(len(held_back))[:most_evaluation])
        words = f"evaluated on split {held_back.split}, calibrated on split {train.split}"
        return (train, calibration.tolist()), (held_back, evaluation.tolist()), words
    table = train if train is not None and train is held_back else max(tables.values(), key=len)
    if len(table) < LEAST_ROWS:
        raise ValueError(f"it has only {len(table)} rows")
    order = rng.permutation(len(table))
    cut = min(most_calibration, max(1, len(table) // 5))
    words = f"disjoint rows of split {table.split} drawn with seed {seed}"
    return (table, order[:cut].tolist()), (table, order[cut : cut + most_evaluation].tolist()), words


def _of_rows(
    components: dict[str, Component], parts: tuple[Rows, Rows], block: dict[str, Any], settings: Settings,
    tokenizer: Path | None, config: dict[str, Any], processor: dict[str, Any], seed: int,
) -> Linked:  # fmt: skip
    calibration, evaluation = parts
    linked = Linked({}, "")
    described = []
    for number, (name, one) in enumerate(components.items()):
        specs = [spec for spec in one.specs if spec.get("role") != "state"]
        joint = _takes_pairs_jointly(one, config)
        # Each for itself: files of two splits need not have the same columns (one with a header, one without).
        found = mapping.find(evaluation[0], specs, block, tokenizer, processor, joint)
        calibrating = mapping.find(calibration[0], specs, block, tokenizer, processor, joint)
        judged, kept = _affordable(evaluation, found, specs, tokenizer, linked.notes)
        rest: list[int] = []
        wanted = calibration[1][: max(1, CALIBRATION_ROWS // found.group)]
        limit = _limit(calibration, calibrating, specs, tokenizer, wanted)
        feeds = mapping.feeds(calibration[0], calibrating, specs, wanted[:limit], tokenizer, rest)
        feeds = _apart(feeds, judged, linked.notes)
        if len(feeds) < min(FEW_ROWS, limit):
            rows_there = len(feeds)
            wanted_rows, rng = min(FEW_ROWS * 2, limit), np.random.default_rng([seed, number])
            more, how = augment.more(feeds, specs, wanted_rows, rng, texts.mask_id(tokenizer))
            feeds = list(more)
            if how:
                linked.notes.append(
                    f"Calibrated on {rows_there} rows and on {len(feeds) - rows_there} made from them by {how}."
                )
        if any(how.guessed for _, how in found.pictures.values()):
            linked.notes.append(
                "How pixels are scaled was guessed from the graph: say it in fithub.preprocessing, or push a"
                " preprocessor_config.json."
            )
        if one.carry:
            linked.notes.append("Rows are no sequences: each was judged from an empty state.")
        for feed in [*feeds, *judged] if len(specs) < len(one.specs) else ():
            feed.update(_states(one.specs))
        linked.feeds[name] = (feeds, judged)
        described.append(found.words if len(components) == 1 else f"{name}: {found.words}")
        if linked.truth is None:
            linked.truth, note = truth_of((evaluation[0], kept), found, settings, one.outputs, config, judged)
            linked.notes += [note] if note else []
    linked.words = " | ".join(dict.fromkeys(described))
    linked.notes = list(dict.fromkeys(linked.notes))
    counts = {len(judged) for _, judged in linked.feeds.values()}
    if len(counts) > 1 and linked.truth is not None:
        linked.truth = None
    return linked


def _states(specs: list[dict[str, Any]]) -> Feed:
    states = [spec for spec in specs if spec.get("role") == "state"]
    return {s["name"]: np.zeros([d if isinstance(d, int) else 1 for d in s["shape"] or []], s["dtype"]) for s in states}


def _affordable(
    part: Rows, found: mapping.Mapping, specs: list[dict[str, Any]], tokenizer: Path | None, notes: list[str]
) -> tuple[list[Feed], list[int]]:
    """(feeds, their rows) of the evaluation: as many as fit into memory."""
    table, numbers = part
    wanted = numbers[: max(1, EVALUATION_ROWS // found.group)]
    limit = _limit(part, found, specs, tokenizer, wanted)
    if limit < len(wanted):
        notes.append(f"{limit:,} of {len(wanted):,} rows were taken to judge on, because inputs are large.")
    broken: list[int] = []
    feeds = mapping.feeds(table, found, specs, wanted[:limit], tokenizer, broken)
    if not feeds:
        raise ValueError("none of its images can be read")
    if broken:
        notes.append(f"{len(broken)} rows whose images cannot be read were left out.")
    return feeds, [row for row in wanted[:limit] if row not in set(broken)]


def _limit(
    part: Rows, found: mapping.Mapping, specs: list[dict[str, Any]], tokenizer: Path | None, wanted: list[int]
) -> int:
    """Rows whose feeds fit into FEEDS_LIMIT_BYTES, by the first that can be read."""
    for row in wanted[:FEW_ROWS]:
        first = mapping.feeds(part[0], found, specs, [row], tokenizer, [])
        if first:
            return max(1, FEEDS_LIMIT_BYTES // max(1, sum(array.nbytes for feed in first for array in feed.values())))
    return len(wanted)


def _apart(calibration: list[Feed], evaluation: list[Feed], notes: list[str]) -> list[Feed]:
    """Calibration feeds without those which evaluate too, and without repetitions."""
    seen = {memo.of_feeds([feed]) for feed in evaluation}
    kept = []
    for feed in calibration:
        key = memo.of_feeds([feed])
        if key not in seen:
            seen.add(key)
            kept.append(feed)
    if not kept:
        raise ValueError("its calibration rows are the same as the rows to judge on, or cannot be read")
    if len(kept) < len(calibration):
        notes.append(f"{len(calibration) - len(kept)} calibration inputs were left out, being there twice.")
    return kept


def _takes_pairs_jointly(one: Component, config: dict[str, Any]) -> bool:
    """A classifier of text pairs: config.json names one, or its output is a few numbers a row."""
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return "SequenceClassification" in str(names[0])
    shapes = [spec["shape"] for spec in one.outputs if spec["shape"]]
    return any(len(shape) == 2 and isinstance(shape[1], int) and shape[1] <= 8 for shape in shapes)
