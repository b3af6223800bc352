"""silero-vad and DTLN: state is carried, so they are calibrated and judged over whole sequences of a recording."""

import wave
from pathlib import Path

import numpy as np

from tests.benchmarks.compression import evaluation
from tests.benchmarks.compression.tasks.base import SINGLE, Feed, Rows, existing

RATE_HZ, FRAME, CONTEXT = 16000, 512, 64
CALIBRATION_S, HELD_BACK_S, EVALUATION_S = 15, 8, 30
CALIBRATION, HELD_BACK = 200, 128
NOISE_SHARE = 0.3  # of the speech's own loudness


def _recording(assets: Path) -> np.ndarray:
    with wave.open(str(existing(assets / "models" / "silero-vad" / "test.wav"))) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def _parts(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(calibration, held back, evaluation): three pieces which do not touch."""
    first, second = CALIBRATION_S * RATE_HZ, (CALIBRATION_S + HELD_BACK_S) * RATE_HZ
    return sound[:first], sound[first:second], sound[second : second + EVALUATION_S * RATE_HZ]


def silero(_model: str, assets: Path) -> Rows:
    """Voice activity at 16 kHz; calibration rows hold the state which the source itself carries."""
    source = existing(assets / "models" / "silero-vad" / "silero_vad.onnx")
    carry = {"state": "stateN"}
    pieces = [_frames(part) for part in _parts(_recording(assets))]
    for feeds in pieces[:2]:
        evaluation.fill_state(source, feeds, carry)
    given, held = (
        feeds[:: max(1, len(feeds) // n)][:n] for feeds, n in zip(pieces, (CALIBRATION, HELD_BACK), strict=False)
    )
    return Rows(
        {"model.onnx": source}, {SINGLE: given}, {SINGLE: held}, {SINGLE: pieces[2]}, "numbers", "audio",
        carry={SINGLE: carry},
    )  # fmt: skip


def _frames(sound: np.ndarray) -> list[Feed]:
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    count = len(sound) // FRAME
    return [
        {
            "input": padded[None, number * FRAME : number * FRAME + CONTEXT + FRAME],
            "state": np.zeros((2, 1, 128), np.float32),
            "sr": np.asarray(RATE_HZ, np.int64),
        }
        for number in range(count)
    ]


def dtln(_model: str, assets: Path) -> Rows:
    """Noise suppression in two networks; judged by the waveform which both together make of noisy speech."""
    folder = existing(assets / "models" / "dtln-denoise")
    paths = {name: folder / f"{name}.onnx" for name in ("model_1", "model_2")}
    rng = np.random.default_rng(0)
    noisy = [part + _noise(part, rng) for part in _parts(_recording(assets))]
    fed = []
    for sound, count in zip(noisy[:2], (CALIBRATION, HELD_BACK), strict=True):
        recorded: dict[str, list[Feed]] = {name: [] for name in paths}
        evaluation.denoised([str(path) for path in paths.values()], sound, list(recorded.values()))
        fed.append({name: feeds[:: max(1, len(feeds) // count)][:count] for name, feeds in recorded.items()})
    timing = {name: feeds[:4] for name, feeds in fed[1].items()}
    judged = {"model_1": [{"sound": noisy[2]}], "model_2": []}
    return Rows(
        {path.name: path for path in paths.values()}, fed[0], fed[1], judged, "waveform", "audio",
        carry={"model_1": {"input_3": "tf_op_layer_stack_2"}, "model_2": {"input_5": "tf_op_layer_stack_5"}},
        timing=timing,
        notes="The engine takes no dataset for a source of several models: its passes saw generated inputs.",
    )  # fmt: skip


def _noise(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brownish noise: white noise through a first-order low pass, at a share of the speech's loudness."""
    spectrum = np.fft.rfft(rng.standard_normal(len(sound)))
    shaped = np.fft.irfft(spectrum / np.sqrt(1 + (np.arange(len(spectrum)) / (0.05 * len(spectrum))) ** 2), len(sound))
    return (shaped / shaped.std() * sound.std() * NOISE_SHARE).astype(np.float32)
