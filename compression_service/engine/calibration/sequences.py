"""Sounds of a dataset as feeds: whole clips, or, for models which carry a state, streams cut into frames.

A stateful model is judged over whole sequences: clips of one part follow each other, and every sequence starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compression_service.engine.calibration import audio, augment, media
from compression_service.engine.calibration.rows import Table
from compression_service.engine.calibration.settings import Settings
from compression_service.engine.fidelity.truth import Truth

STEPS = 128
LEAST_STEPS = 8
EVALUATION_SEQUENCES = 16
CALIBRATION_SEQUENCES = 4
EVALUATION_CLIPS = 256
CALIBRATION_CLIPS = 64
FEW_CLIPS = 16
PIECE_S = 4.0

Feed = dict[str, np.ndarray]
Rows = tuple[Table, list[int]]


@dataclass
class Sounds:
    """What linked.read takes over."""

    feeds: dict[str, tuple[list[Feed], list[Feed]]]
    words: str
    steps: int
    truth: Truth | None
    notes: list[str] = field(default_factory=list)


def sound_column(table: Table, settings: Settings) -> str | None:
    """The column of sounds that feeds the model: the card's, else the first; None where there is none."""
    found = [
        name for name, values in table.columns.items() if media.kind_of(values, table.folder, table.files) == "sound"
    ]
    stated = [column for columns in settings.inputs.values() for column in columns if column in found]
    others = [name for name in found if name not in (settings.label, "clean")]
    return next(iter(stated or others), None)


def in_pieces(tables: dict[str, Table], settings: Settings) -> tuple[dict[str, Table], str]:
    """(tables whose few long sounds are cut into pieces of PIECE_S, a note); as they were where there is no sound."""
    made: dict[str, Table] = {}
    for split, table in tables.items():
        column = sound_column(table, settings)
        if column is None:
            return tables, ""
        others = [name for name in (settings.label, "clean") if name in table.columns]
        columns: dict[str, list[Any]] = {str(name): [] for name in dict.fromkeys([column, *others])}
        for row in range(len(table)):
            try:
                cells = {
                    name: audio.decode(media.content(table.columns[name][row], table.folder, table.files))
                    for name in columns
                }
            except media.MediaError:  # told with the others when the rows are read
                return tables, ""
            length = int(PIECE_S * cells[column][1])
            count = min(samples.size * cells[column][1] // rate for samples, rate in cells.values()) // length
            for name, (samples, rate) in cells.items():
                size = int(PIECE_S * rate)
                columns[name] += [audio.encode(samples[i * size : (i + 1) * size], rate) for i in range(count)]
        made[split] = Table(split, columns, table.files, table.folder)
    rows = sum(map(len, made.values()))
    if rows == 0:
        return tables, ""
    return made, f"Few sounds were cut into {rows} pieces of {PIECE_S:g} s, which are the rows."


def read(
    components: dict[str, Any], parts: tuple[Rows, Rows], column: str, settings: Settings, processor: dict[str, Any],
    seed: int,
) -> Sounds:  # fmt: skip
    """Feeds for all components of a pipeline, of the same sounds."""
    streams = any(one.carry for one in components.values())
    specs = {name: one.specs for name, one in components.items()}
    how = audio.plan(specs, streams, settings.preprocessing, processor)
    right: str | None = settings.label if settings.label in parts[1][0].columns else "clean"
    right = right if right in parts[1][0].columns else None
    rng = np.random.default_rng(seed)
    most = (CALIBRATION_SEQUENCES * 4, EVALUATION_SEQUENCES * 8) if streams else (CALIBRATION_CLIPS, EVALUATION_CLIPS)
    notes: list[str] = []
    learnt, judged = (_waves(part, column, how.rate, count, notes) for part, count in zip(parts, most, strict=True))
    known = {wave.tobytes() for wave in judged.values()}
    training = [wave for wave in learnt.values() if wave.tobytes() not in known]
    if not training:
        raise ValueError("its calibration sounds are the same as those to judge on")
    clean = _waves((parts[1][0], list(judged)), right, how.rate, len(judged), notes) if right else {}
    kept = [row for row in judged if not right or row in clean]
    waves = [judged[row] for row in kept]
    if streams:
        steps, wanted = _steps(waves, how), CALIBRATION_SEQUENCES
        length = audio.samples(how, steps)
        training, made = _enough(training, length * wanted, rng)
        sequences = [
            _cut(signals, length, most) for signals, most in ((training, wanted), (waves, EVALUATION_SEQUENCES))
        ]
        feeds = {
            name: tuple(
                [feed for wave in part for feed in audio.sequence_feeds(wave, one, how, steps)] for part in sequences
            )
            for name, one in specs.items()
        }
        right_waves = _cut(
            [audio.fitted(clean[row], judged[row].size) for row in kept if right], length, EVALUATION_SEQUENCES
        )
    else:
        steps, made = 1, 0
        if len(training) < FEW_CLIPS:
            made = FEW_CLIPS - len(training)
            training = [*training, *(augment.sound(training[i % len(training)], rng) for i in range(made))]
        feeds = {
            name: tuple([audio.clip_feed(wave, one, how, processor) for wave in part] for part in (training, waves))
            for name, one in specs.items()
        }
        right_waves = [clean[row] for row in kept] if right else []
    if made:
        notes.append(f"Calibration sounds were too few: {made} more were made from them by {augment.WORDS['audio']}.")
    words = how.words + (f", sequences of {steps} steps" if steps > 1 else "")
    truth = _truth(right_waves if right else [], settings, steps, how)
    return Sounds(feeds, words, steps, truth, notes)  # type: ignore[arg-type]


def _waves(part: Rows, column: str | None, rate: int, most: int, notes: list[str]) -> dict[int, np.ndarray]:
    """Row → samples at the rate, of the first `most` rows that can be read."""
    table, numbers = part
    found: dict[int, np.ndarray] = {}
    problems: list[str] = []
    for row in numbers:
        if len(found) == most or column is None:
            break
        try:
            found[row] = audio.loaded(media.content(table.columns[column][row], table.folder, table.files), rate)
        except media.MediaError as error:
            problems.append(str(error))
    if not found:
        raise ValueError(f"none of its sounds can be read: {problems[0] if problems else 'there are none'}")
    if problems:
        notes.append(f"{len(problems)} sounds were left out: {problems[0]}.")
    return found


def _steps(waves: list[np.ndarray], how: audio.SoundPlan) -> int:
    """Frames of one sequence: fewer where there is little sound to judge on."""
    frames = sum(wave.size for wave in waves) // how.hop
    return int(min(STEPS, max(LEAST_STEPS, frames // 4)))


def _enough(waves: list[np.ndarray], samples: int, rng: np.random.Generator) -> tuple[list[np.ndarray], int]:
    """(waves, how many were made): at least so many samples together."""
    there = sum(wave.size for wave in waves)
    made = 0
    grown = list(waves)
    while there < samples and made < samples:
        grown.append(augment.sound(waves[made % len(waves)], rng))
        there += grown[-1].size
        made += 1
    return grown, made


def _cut(waves: list[np.ndarray], length: int, most: int) -> list[np.ndarray]:
    """Signals of `length` samples out of all waves one after the other; the only one is filled with silence."""
    if not waves:
        return []
    stream = np.concatenate(waves)
    count = max(1, min(most, stream.size // length))
    return [audio.fitted(stream[i * length : (i + 1) * length], length) for i in range(count)]


def _truth(clean: list[np.ndarray], settings: Settings, steps: int, how: audio.SoundPlan) -> Truth | None:
    hop = how.hop if how.streams else None
    if clean and settings.metric in (None, "si_sdr"):
        return Truth("signals", clean, "si_sdr", steps=steps, hop=hop, options=settings.options)
    if settings.metric == "si_sdr":
        return Truth("source", [], "si_sdr", steps=steps, hop=hop, options=settings.options)
    if settings.metric in ("edit_distance", "wer") and steps == 1:
        return Truth("source", [], settings.metric, options=settings.options, vocabulary=settings.labels)
    return None
