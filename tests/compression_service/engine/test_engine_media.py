"""Images and sounds as inputs, and what is made from few of them."""

from __future__ import annotations

import io
import struct
import wave

import engine_models as models
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compression_service.engine.calibration import audio, augment, images, mel
from compression_service.engine.calibration.media import MediaError, content, kind_of

RNG = np.random.default_rng(0)
SPEC = {"name": "x", "dtype": "float32", "shape": [None, 3, 8, 8], "role": "image", "range": (0.0, 1.0)}


def png(pixels, mode=None):
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(out, "PNG")
    return out.getvalue()


def wav(samples, rate=16000, channels=1):
    out = io.BytesIO()
    with wave.open(out, "wb") as stream:
        stream.setnchannels(channels)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(np.round(np.asarray(samples) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def test_pixels_are_scaled_ordered_and_laid_out():
    pixels = RNG.integers(0, 256, (8, 8, 3))
    how = images.plan(SPEC, {"mean": [1, 2, 3], "std": 2, "channels": "BGR"}, {})
    made = images.array(png(pixels), how)
    expected = (pixels[:, :, ::-1] - np.asarray([1, 2, 3])) / 2
    np.testing.assert_allclose(made, expected.transpose(2, 0, 1)[None], rtol=1e-6)
    last = {**SPEC, "shape": [1, 8, 8, 3], "channels_last": True}
    made = images.array(png(pixels), images.plan(last, {"scale": 1}, {}))
    np.testing.assert_array_equal(made[0], pixels)


def test_a_processor_s_own_figures_are_taken():
    config = {"size": {"shortest_edge": 10}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}, "resample": 3,
              "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}  # fmt: skip
    how = images.plan(SPEC, {}, config)
    assert (how.shortest, how.crop, how.resample, how.guessed) == (10, (8, 8), "bicubic", False)
    made = images.array(png(np.full((20, 30, 3), 255)), how)
    assert made.shape == (1, 3, 8, 8) and np.allclose(made, 2)


def test_a_grey_image_fills_a_vector():
    spec = {"name": "x", "dtype": "float32", "shape": [None, 64], "role": "signal"}
    pixels = RNG.integers(0, 256, (8, 8))
    made = images.array(png(pixels), images.plan(spec, {}, {}))
    np.testing.assert_allclose(made, pixels.reshape(1, 64) / 255, rtol=1e-5)


def test_preprocessing_which_does_not_fit_is_said():
    with pytest.raises(images.PreprocessingError, match="9 × 9 and the input x takes 8 × 8"):
        images.plan(SPEC, {"crop": 9}, {})
    with pytest.raises(images.PreprocessingError, match="one channel"):
        images.plan(SPEC, {"channels": "L"}, {})


def test_broken_images_and_bombs_are_refused(monkeypatch):
    how = images.plan(SPEC, {}, {})
    whole = png(RNG.integers(0, 256, (50, 50, 3)))
    for data in (b"", b"no image", whole[:60], whole[: len(whole) // 2]):
        with pytest.raises(MediaError):
            images.array(data, how)
    monkeypatch.setattr(images, "MOST_PIXELS", 100)
    with pytest.raises(MediaError, match="more than 100"):
        images.array(whole, how)


def test_images_of_others_which_are_broken_are_refused():
    folder = models.assets() / "badinput" / "pillow-images"
    how = images.plan(SPEC, {}, {})
    for path in sorted(folder.iterdir()):
        try:
            made = images.array(path.read_bytes(), how)
        except MediaError:
            continue
        assert made.shape == (1, 3, 8, 8), path.name  # only what is odd, not broken


def test_masks_are_class_numbers():
    assert images.classes(png([[0, 255], [255, 0]])).tolist() == [[0, 1], [1, 0]]
    assert images.classes(png([[0, 3], [2, 255]])).tolist() == [[0, 3], [2, 255]]


def test_a_file_outside_of_the_dataset_is_never_read(tmp_path):
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link.png", "none.png", "a\0b"):
        with pytest.raises(MediaError):
            content(name, folder, [])


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(8000, 16000), (44100, 16000), (48000, 16000), (22050, 8000), (16000, 16000)]
)
def test_a_tone_stays_a_tone_at_another_rate(from_hz, to_hz):
    def tone(rate):
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

    made = audio.resample(tone(from_hz), from_hz, to_hz)
    assert made.shape == (to_hz,)
    assert np.abs(made - tone(to_hz))[200:-200].max() < 0.01


def test_what_is_above_the_new_nyquist_frequency_is_gone():
    high = np.sin(2 * np.pi * 7000 * np.arange(16000) / 16000)
    assert np.abs(audio.resample(high, 16000, 8000)[100:-100]).max() < 0.02


def test_wav_files_of_many_kinds_are_read():
    samples = RNG.uniform(-0.9, 0.9, 400)
    read, rate = audio.decode(wav(samples))
    assert rate == 16000 and np.abs(read - samples).max() < 1e-4
    stereo = np.stack([samples, -samples], axis=1).reshape(-1)
    assert np.abs(audio.decode(wav(stereo, channels=2))[0]).max() < 1e-4
    data = samples.astype("<f4").tobytes()
    header = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32)
    read, rate = audio.decode(header + b"data" + struct.pack("<I", len(data)) + data)
    assert rate == 8000 and np.abs(read - samples).max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "subtype", "apart"),
    [
        ("FLAC", "PCM_16", 1e-4), ("FLAC", "PCM_24", 1e-6), ("WAV", "PCM_24", 1e-6), ("WAVEX", "PCM_32", 1e-6), ("WAV", "ULAW", 0.03),
        ("WAV", "PCM_U8", 0.01), ("OGG", "VORBIS", 0.1), ("OGG", "OPUS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1),
    ],
)  # fmt: skip
def test_sounds_of_other_kinds_are_read_too(kind, subtype, apart):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
    out = io.BytesIO()
    soundfile.write(out, tone, 16000, format=kind, subtype=subtype)
    assert kind_of([out.getvalue()], None, []) == "sound"
    read, rate = audio.decode(out.getvalue())
    assert rate == 16000 and np.abs(read[:12000] - tone[:12000])[2000:].max() < apart


def test_of_a_long_sound_the_first_minute_is_read():
    out = io.BytesIO()
    soundfile.write(out, np.full(8000 * 90, 0.1, np.float32), 8000, format="FLAC")
    assert audio.decode(out.getvalue())[0].shape == (8000 * 60,)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"fLaC", b"OggS", b"ID3\4", b"\xff\xfb", b"RIFF\0\0\0\0WAVEfmt "])
)
@settings(max_examples=200, deadline=None)
def test_bytes_of_any_kind_are_sound_or_refused(data, start):
    try:
        samples, rate = audio.decode(start + data)
    except MediaError:
        return
    assert samples.ndim == 1 and np.isfinite(samples).all() and rate >= 100


def test_a_format_which_nobody_offers_is_refused_by_its_name():
    out = io.BytesIO()
    soundfile.write(out, np.zeros(100, np.float32), 8000, format="AIFF")
    with pytest.raises(MediaError, match="kind AIFF, and only WAV"):
        audio.decode(out.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"RIFF\0\0\0\0WAVE", b"fLaC....", wav([])[:50], wav([0.1] * 9)[:30] + b"\xff" * 20]
)
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(MediaError):
        audio.decode(data)


def test_the_front_end_of_dtln_is_found_by_its_sizes():
    specs = {
        "model_1": [{"name": "a", "dtype": "float32", "shape": [1, 1, 257], "role": "signal"},
                    {"name": "s", "dtype": "float32", "shape": [1, 2, 8, 2], "role": "state"}],
        "model_2": [{"name": "b", "dtype": "float32", "shape": [1, 1, 512], "role": "signal"}],
    }  # fmt: skip
    how = audio.plan(specs, True, {}, {})
    assert (how.frame, how.hop, how.kinds) == (512, 128, {"a": "magnitude", "s": "state", "b": "waveform"})
    feeds = audio.sequence_feeds(RNG.standard_normal(2000), specs["model_1"], how, 4)
    assert len(feeds) == 4 and feeds[0]["a"].shape == (1, 1, 257) and not feeds[0]["s"].any()


def test_log_mel_has_the_shape_and_the_range_of_whisper():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    made = mel.log_mel(tone, 16000, {"feature_size": 80}, [None, 80, 100])
    assert made.shape == (80, 100) and made.max() - made.min() <= 2.0 + 1e-9
    centre = int(made.mean(axis=1).argmax())
    assert 25 <= centre <= 29  # 1 kHz is mel 15 of 45.2, a third of 80 filters


def test_few_inputs_become_more_of_the_same_kind():
    specs = [SPEC, {"name": "ids", "dtype": "int64", "shape": [None, None], "role": "ids"}]
    feed = {"x": RNG.random((1, 3, 8, 8)).astype(np.float32), "ids": np.asarray([[101, 5, 6, 7, 8, 102]])}
    made, words = augment.more([feed], specs, 5, np.random.default_rng(1), mask_id=103)
    assert len(made) == 5 and made[0] is feed and "flips" in words and "masked" in words
    for one in made[1:]:
        assert one["x"].shape == (1, 3, 8, 8) and one["x"].dtype == np.float32
        assert feed["x"].min() <= one["x"].min() and one["x"].max() <= feed["x"].max()
        assert one["ids"][0, 0] == 101 and one["ids"][0, -1] == 102 and (one["ids"] != feed["ids"]).any()
    again, _ = augment.more([feed], specs, 5, np.random.default_rng(1), mask_id=103)
    np.testing.assert_array_equal(again[3]["x"], made[3]["x"])


def test_sounds_keep_their_length_and_kind():
    samples = RNG.standard_normal(300).astype(np.float32)
    made = augment.sound(samples, np.random.default_rng(0))
    assert made.shape == (300,) and made.dtype == np.float32 and not np.allclose(made, samples)
