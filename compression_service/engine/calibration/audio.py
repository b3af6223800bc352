"""Sounds as model inputs: mono, resampled to the model's rate, cut into the frames which it takes one by one.

libsndfile decodes them. Resampling is by a windowed sinc in polyphase form (J. O. Smith, Digital Audio Resampling; Hann
window).
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import soundfile

from compression_service.engine.calibration.media import MediaError

FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
ZEROS = 6  # zero crossings of the sinc on each side
ROLLOFF = 0.95  # of the lower Nyquist frequency
LARGEST_RATIO = 2000  # numerator and denominator of a ratio of rates
USUAL_RATE_HZ = 16000
LONGEST_CLIP_S = 5.0
FIRST_SECONDS = 60.0  # of a file; the rest is not read
# Silero's own loader (utils_vad.py): 512 new samples after 64 of context at 16 kHz, half of both at 8 kHz.
_SILERO_FRAMES = {16000: (512, 64), 8000: (256, 32)}
_MOST_CHANNELS = 64


@dataclass(frozen=True)
class SoundPlan:
    """`kinds`: input name → waveform, magnitude, log_mel, state or rate; frames are in samples at `rate`."""

    kinds: dict[str, str]
    rate: int
    streams: bool
    frame: int | None
    context: int
    hop: int
    normalize: bool
    words: str


def decode(content: bytes) -> tuple[np.ndarray, int]:
    """(mono samples in −1…1 float32, Hz) of the first minute of a WAV, FLAC, Ogg or MP3 file."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, channels, kind = file.samplerate, file.channels, file.format
            if kind not in FORMATS:
                raise MediaError(f"it is a sound of the kind {kind}, and only {', '.join(FORMATS)} are read here")
            if not 1 <= channels <= _MOST_CHANNELS or not 100 <= rate <= 768_000:
                raise MediaError("its header is not sane")
            frames = min(max(0, file.frames), int(FIRST_SECONDS * rate))
            samples = file.read(frames, dtype="float32", always_2d=True).mean(axis=1, dtype=np.float64)
    except soundfile.LibsndfileError as error:
        raise MediaError(f"it is no whole file of the kinds {', '.join(FORMATS)}") from error
    if not samples.size or not np.isfinite(samples).all():
        raise MediaError("it holds no samples")
    return samples.astype(np.float32), rate


def encode(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of floats, which decode reads again without loss."""
    data = samples.astype("<f4").tobytes()
    shape = struct.pack("<IHHIIHH", 16, 3, 1, rate, rate * 4, 4, 32)
    body = b"WAVEfmt " + shape + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """[n] at one rate to [⌈n · to/from⌉] at another, float32."""
    ratio = Fraction(to_hz, from_hz).limit_denominator(LARGEST_RATIO)
    up, down = ratio.numerator, ratio.denominator
    if up == down or not samples.size:
        return samples.astype(np.float32)
    if up == 0 or up > LARGEST_RATIO:
        raise MediaError(f"its rate of {from_hz} Hz is too far from the model's {to_hz} Hz")
    cutoff = min(up, down) * ROLLOFF  # in cycles of the common period of both rates, doubled
    width = math.ceil(ZEROS * down / cutoff)
    # Phase p of the output lies p/up of a period after the window's first inner sample.
    offsets = np.arange(-width, down + width)[None, :] / down - np.arange(up)[:, None] / up
    inside = np.clip(offsets * cutoff, -ZEROS, ZEROS)
    kernels = np.sinc(inside) * np.cos(np.pi * inside / ZEROS / 2) ** 2 * cutoff / down
    wanted = math.ceil(samples.size * up / down)
    periods = math.ceil(wanted / up)
    padded = np.zeros(periods * down + 2 * width)
    kept = samples[: periods * down + width]
    padded[width : width + kept.size] = kept
    windows = np.lib.stride_tricks.sliding_window_view(padded, down + 2 * width)[::down][:periods]
    return (windows @ kernels.T).reshape(-1)[:wanted].astype(np.float32)


def loaded(content: bytes, rate: int) -> np.ndarray:
    """The samples of a file at the wanted rate."""
    samples, from_hz = decode(content)
    return resample(samples, from_hz, rate)


def plan(
    components: dict[str, list[dict[str, Any]]], streams: bool, stated: dict[str, Any], config: dict[str, Any]
) -> SoundPlan:
    """One plan for all components of a pipeline. ValueError says which input no sound can feed."""
    rate = stated.get("rate") or _rate_of(config) or USUAL_RATE_HZ
    features = stated.get("features") or {}
    kinds: dict[str, str] = {}
    frames: list[int] = []
    for specs in components.values():
        for spec in specs:
            wanted = features if isinstance(features, str) else features.get(spec["name"])
            kinds[spec["name"]], frame = _kind(spec, wanted, config)
            frames += [frame] if frame else []
    if not {"waveform", "magnitude", "log_mel"} & set(kinds.values()):
        raise ValueError("no input of the model takes sound")
    spectral = "magnitude" in kinds.values()
    frame, context = (stated.get("frame") or max(frames, default=None)), stated.get("context", 0)
    if streams and frame is None:
        frame, context = _SILERO_FRAMES.get(rate, (rate * 32 // 1000, 0))
        frame, context = stated.get("frame", frame), stated.get("context", context)
    hop = stated.get("hop") or ((frame // 4 if spectral else frame) if frame else 1)
    normalize = stated.get("normalize", config.get("do_normalize") is True and "log_mel" not in kinds.values())
    words = f"sound at {rate} Hz"
    if streams and frame:
        words += f", frames of {frame} samples every {hop}" + (f" after {context} of context" if context else "")
    if spectral:
        words += ", magnitudes of their spectrum"
    return SoundPlan(kinds, rate, streams, frame, context, hop, bool(normalize), words)


def _rate_of(config: dict[str, Any]) -> int | None:
    rate = config.get("sampling_rate")
    return rate if isinstance(rate, int) and not isinstance(rate, bool) and 100 <= rate <= 192_000 else None


def _kind(spec: dict[str, Any], wanted: str | None, config: dict[str, Any]) -> tuple[str, int | None]:
    """(kind, samples of one frame as far as the input's own shape says it)."""
    dims, role = spec["shape"] or [], spec.get("role")
    if role in ("state", "rate"):
        return role, None
    last = dims[-1] if dims else None
    flat = len(dims) <= 3 and all(dim == 1 or not isinstance(dim, int) for dim in dims[:-1]) and bool(dims)
    mels = config.get("feature_size")
    spectral = len(dims) == 3 and isinstance(mels, int) and mels > 1 and dims[1] in (mels, None)
    if wanted == "log_mel" or (wanted is None and spectral):
        return "log_mel", None
    if np.dtype(spec["dtype"] if spec["dtype"] not in ("string", "unknown") else "U").kind != "f" or not flat:
        raise ValueError(f"the input {spec['name']} {dims} takes no sound as it is: name its features in the card")
    if len(dims) == 3 and not isinstance(last, int) and isinstance(dims[1], int) and dims[1] != 1:
        raise ValueError(f"the input {spec['name']} takes features of sound which are not computed here")
    halves = isinstance(last, int) and last > 32 and (last - 1) & (last - 2) == 0
    if wanted == "magnitude" or (wanted is None and halves):
        return "magnitude", (last - 1) * 2 if isinstance(last, int) else None
    return "waveform", last if isinstance(last, int) else None


def clip_feed(wave: np.ndarray, specs: list[dict[str, Any]], how: SoundPlan, config: dict[str, Any]) -> dict[str, Any]:
    """One feed of a whole clip: cut, or filled with silence, to the length that the input has."""
    if how.normalize:
        wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    feed = {}
    for spec in specs:
        kind, dims = how.kinds[spec["name"]], spec["shape"] or []
        if kind == "log_mel":
            from compression_service.engine.calibration.mel import log_mel

            made = log_mel(wave, how.rate, config, dims)
        elif kind == "rate":
            feed[spec["name"]] = np.full([1] * len(dims), how.rate, spec["dtype"])
            continue
        else:
            made = fitted(wave, how.frame or min(wave.size, int(LONGEST_CLIP_S * how.rate)))
            made = np.abs(np.fft.rfft(made)) if kind == "magnitude" else made
        feed[spec["name"]] = _shaped(made, spec)
    return feed


def sequence_feeds(wave: np.ndarray, specs: list[dict[str, Any]], how: SoundPlan, steps: int) -> list[dict[str, Any]]:
    """`steps` consecutive feeds of a signal of samples(how, steps); states are zeros, which the runner carries on."""
    assert how.frame is not None
    before = np.concatenate([np.zeros(how.context, wave.dtype), wave])
    made = []
    for step in range(steps):
        piece = fitted(before[step * how.hop : step * how.hop + how.frame + how.context], how.frame + how.context)
        feed = {}
        for spec in specs:
            kind = how.kinds[spec["name"]]
            if kind == "state":
                shape = [dim if isinstance(dim, int) else 1 for dim in spec["shape"] or []]
                feed[spec["name"]] = np.zeros(shape, spec["dtype"])
            elif kind == "rate":
                feed[spec["name"]] = np.full([1] * len(spec["shape"] or []), how.rate, spec["dtype"])
            else:
                feed[spec["name"]] = _shaped(np.abs(np.fft.rfft(piece)) if kind == "magnitude" else piece, spec)
        made.append(feed)
    return made


def samples(how: SoundPlan, steps: int) -> int:
    """Length of the signal which `steps` frames cover."""
    assert how.frame is not None
    return how.hop * (steps - 1) + how.frame


def fitted(wave: np.ndarray, length: int) -> np.ndarray:
    """Cut, or filled with silence at its end."""
    return wave[:length] if wave.size >= length else np.pad(wave, (0, length - wave.size))


def _shaped(values: np.ndarray, spec: dict[str, Any]) -> np.ndarray:
    dims = spec["shape"] or []
    lead = [1] * (len(dims) - values.ndim)
    try:
        made = values.reshape([*lead, *values.shape]).astype(spec["dtype"])
    except ValueError as error:
        raise ValueError(f"{values.shape} numbers do not fill the input {spec['name']} {dims}") from error
    if any(isinstance(dim, int) and dim != size for dim, size in zip(dims, made.shape, strict=True)):
        raise ValueError(f"sound of {list(made.shape)} does not fill the input {spec['name']} {dims}")
    return made
