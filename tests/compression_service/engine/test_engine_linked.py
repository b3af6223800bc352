"""Inputs out of linked datasets of every kind, through prepare()."""

from __future__ import annotations

import json

import engine_models as models
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from test_engine_media import wav

from compression_service.engine import fidelity, inputs, memo
from compression_service.engine.calibration import rows, settings
from compression_service.engine.calibration.linked import split
from compression_service.engine.calibration.rows import Table

RNG = np.random.default_rng(0)


def image_folder(folder, classes=10, each=4, side=16):
    for number in range(classes):
        (folder / f"class-{number}").mkdir(parents=True)
        for index in range(each):
            pixels = RNG.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{number}" / f"{index}.png")
    return folder


def prepared(tmp_path, model, dataset, block=None, support=None):
    path = models.saved(model, tmp_path / "model.onnx")
    request = inputs.Request(
        dataset=dataset, dataset_info={"repository": "me/rows", "commit": "c" * 40, "config": block or {}},
        seconds_cap=4, support=support,
    )  # fmt: skip
    return inputs.prepare({"model": (model, path)}, request, tmp_path / "work")


def apart(made):
    for one in made.components.values():
        calibrating, judging = (
            {memo.of_feeds([feed]) for feed in feeds} for feeds in (one.calibration, one.evaluation)
        )
        assert not calibrating & judging


def test_folders_of_images_are_classes(tmp_path):
    made = prepared(tmp_path, models.cnn(), image_folder(tmp_path / "rows"))
    assert made.kind == "dataset" and made.truth.metric == "accuracy" and made.evaluation_count == 32
    assert sorted(set(made.labels.tolist())) == list(range(10))
    assert made.calibration_count == 64 and any("8 rows and on 56 made from them" in note for note in made.notes)
    assert any("guessed" in note for note in made.notes)
    apart(made)
    again = prepared(tmp_path, models.cnn(), tmp_path / "rows")
    assert again.digest() == made.digest()


def test_the_same_image_never_calibrates_and_evaluates(tmp_path):
    folder = image_folder(tmp_path / "rows", classes=2, each=10)
    for path in sorted(folder.rglob("*.png"))[1:]:
        if path.name < "5":
            path.write_bytes((folder / "class-0" / "0.png").read_bytes())
    made = prepared(tmp_path, models.cnn(), folder)
    apart(made)


def test_files_may_be_named_by_a_column_and_some_be_broken(tmp_path):
    folder = tmp_path / "rows"
    image_folder(folder, classes=1, each=40)
    lines = [f"class-0/{index}.png,{index % 10}" for index in range(40)]
    (folder / "metadata.csv").write_text("file_name,label\n" + "\n".join(lines))
    for index in (3, 17, 30):
        (folder / "class-0" / f"{index}.png").write_bytes(b"broken")
    made = prepared(tmp_path, models.cnn(), folder, {"preprocessing": {"scale": 1}})
    assert made.kind == "dataset" and len(made.truth.values) == made.evaluation_count < 32
    assert any("cannot be read were left out" in note for note in made.notes)


def test_images_inside_a_column_of_bytes(tmp_path):
    import duckdb

    folder = image_folder(tmp_path / "files", classes=1, each=40)
    rows = tmp_path / "rows"
    rows.mkdir()
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t (image STRUCT(bytes BLOB, path VARCHAR), label BIGINT)")
    for index in range(40):
        data = (folder / "class-0" / f"{index}.png").read_bytes()
        connection.execute("INSERT INTO t VALUES ({'bytes': ?, 'path': 'x'}, ?)", [data, index % 10])
    connection.execute(f"COPY t TO '{rows}/test.parquet'")
    connection.close()
    made = prepared(tmp_path, models.cnn(), rows)
    assert made.kind == "dataset" and made.evaluation_count == 32 and len(made.labels) == 32


def test_masks_beside_images_are_judged_by_iou(tmp_path):
    folder = tmp_path / "rows"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(20):
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / "images" / f"{index}.png")
        Image.fromarray(RNG.integers(0, 2, (16, 16), np.uint8)).save(folder / "masks" / f"{index}.png")
    kernel = numpy_helper.from_array(RNG.standard_normal((2, 3, 1, 1)).astype(np.float32), "k")
    value = helper.make_tensor_value_info
    made_model = models.model(
        [helper.make_node("Conv", ["x", "k"], ["y"])], [value("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [value("y", TensorProto.FLOAT, [1, 2, 16, 16])], [kernel],
    )  # fmt: skip
    made = prepared(tmp_path, made_model, folder)
    assert made.truth.kind == "masks" and made.truth.metric == "iou" and made.truth.values[0].max() == 1


def test_sounds_feed_a_model_with_a_state_in_sequences(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    for index in range(12):
        (folder / f"{index}.wav").write_bytes(wav(RNG.uniform(-0.5, 0.5, 800), rate=8000))
    made = prepared(tmp_path, models.lstm_with_state(), folder)
    assert made.kind == "dataset" and made.steps > 1 and made.evaluation_count % made.steps == 0
    assert made.components["model"].carry and "sequences of" in made.source
    apart(made)


def test_text_without_a_tokenizer_is_said(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "lines.txt").write_text("\n".join(f"line number {index}" for index in range(50)))
    made = prepared(tmp_path, models.mlp(), folder)
    assert made.kind == "generated" and "linked dataset was not used" in made.notes[0]


ODD = [
    {"preprocessing": {"size": "large"}}, {"preprocessing": {"crop": 9000}}, {"preprocessing": 7},
    {"preprocessing": {"colour": "RGB"}}, {"preprocessing": {"mean": [1, 2]}}, {"preprocessing": {"std": 0}},
    {"preprocessing": {"channels": "L"}}, {"preprocessing": {"crop": 7}}, {"preprocessing": {"layout": "NHWC"}},
    {"metric": "bleu"}, {"metric": {"name": "iou", "threshold": "x"}}, {"metric": ["accuracy"]}, {"metric": "perplexity"},
    {"metric": "si_sdr"}, {"metric": "spearman"}, {"label": "nowhere"}, {"label": 5}, {"labels": "cat"}, {"labels": ["a"]},
    {"inputs": {"x": "nowhere"}}, {"inputs": {"y": "image"}}, {"inputs": 3}, {"columns": {"x": "image"}},
    {"calibration": {"split": "other"}}, {"calibration": {"split": "train"}}, {"evaluation": {"rows": 0}},
    {"calibration": {"rows": 1}, "evaluation": {"rows": 1}}, {"scale": "x"}, {"dataset": 4}, {"unknown": {}},
]  # fmt: skip


@pytest.mark.parametrize("block", ODD, ids=str)
def test_a_nonsensical_block_ends_in_a_note_or_does_no_harm(tmp_path, block):
    image_folder(tmp_path / "rows", each=1)
    made = prepared(tmp_path, models.cnn(), tmp_path / "rows", block)
    assert made.evaluation_count >= 1 and made.calibration_count >= 1
    if made.kind == "generated":
        assert any(note.startswith("The linked dataset was not used: ") for note in made.notes), made.notes
    outputs = [{"logits": np.zeros((1, 10), np.float32)} for _ in range(made.evaluation_count)]
    fidelity.pipeline_metric({"model": outputs}, {"model": outputs}, made.truth)
    json.dumps(made.notes)


def test_what_the_card_says_of_its_parts_is_followed():
    table = Table("all", {"a": list(range(100))}, [])
    wanted = settings.read({"calibration": {"rows": 7}, "evaluation": {"rows": 11}})
    (_, calibration), (_, evaluation), _ = split({"all": table}, 0, wanted)
    assert (len(calibration), len(evaluation)) == (7, 11) and not set(calibration) & set(evaluation)
    tables = {name: Table(name, {"a": list(range(50))}, []) for name in ("train", "validation", "test")}
    chosen = settings.read({"calibration": {"split": "test"}, "evaluation": {"split": "validation"}})
    (first, _), (second, _), _ = split(tables, 0, chosen)
    assert (first.split, second.split) == ("test", "validation")
    one = settings.read({"calibration": {"split": "test"}, "evaluation": {"split": "test"}})
    (first, calibration), (second, evaluation), _ = split(tables, 0, one)
    assert first is second and not set(calibration) & set(evaluation)


@pytest.mark.parametrize(
    ("name", "dataset", "block", "metric", "least"),
    [
        ("cifar10-cnn-winml/ImageClassifier.onnx", "cifar10-300", {"preprocessing": {"mean": 0.5, "std": 0.5}}, "accuracy", 0.57),
        ("silero-vad/silero_vad.onnx", "fsdd-audio", {}, None, None),
        ("ultraface-rfb-320/version-RFB-320.onnx", "../models/ultraface-rfb-320/images",
         {"preprocessing": {"mean": 127, "std": 128}, "metric": "iou"}, "iou", 1.0),
    ],
)  # fmt: skip
def test_public_models_on_public_data(tmp_path, name, dataset, block, metric, least):
    import onnxruntime

    from compression_service.engine import graph, runner

    path = models.assets() / "models" / name
    request = inputs.Request(
        dataset=models.assets() / "datasets" / dataset, dataset_info={"config": block}, seconds_cap=10
    )
    made = inputs.prepare({"model": (graph.load(path), path)}, request, tmp_path / "work")
    assert made.kind == "dataset" and (made.truth.metric if made.truth else None) == metric
    if metric:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        outputs = [runner.outputs_of(session, feed) for feed in made.components["model"].evaluation]
        found = fidelity.pipeline_metric({"model": outputs}, {"model": outputs}, made.truth)
        assert found["value"] >= least and found["value"] == found["source_value"]


WORDS = [
    "[PAD]",
    "[UNK]",
    "[MASK]",
    "[CLS]",
    "[SEP]",
    *["a", "man", "plays", "the", "guitar", "on", "stage", "dog", "runs", "fast"],
]


def text_folder(folder, architecture=None):
    """A repository's support files: a tokenizer of words, and a config.json."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir()
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture] if architecture else []}))
    return folder


def language_model(width=len(WORDS), name="logits"):
    table = numpy_helper.from_array(RNG.standard_normal((len(WORDS), width)).astype(np.float32), "table")
    value = helper.make_tensor_value_info
    return models.model(
        [helper.make_node("Gather", ["table", "input_ids"], [name])],
        [value("input_ids", TensorProto.INT64, ["b", "t"])], [value(name, TensorProto.FLOAT, ["b", "t", width])], [table],
    )  # fmt: skip


def sentence():
    return " ".join(RNG.choice(WORDS[5:], size=int(RNG.integers(4, 12))))


def judged(made, model):
    feeds = made.components["model"].evaluation
    table = numpy_helper.to_array(model.graph.initializer[0])
    outputs = [{model.graph.output[0].name: table[feed["input_ids"]]} for feed in feeds]
    return fidelity.pipeline_metric({"model": outputs}, {"model": outputs}, made.truth)


def test_a_causal_language_model_is_judged_by_its_perplexity(tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "corpus.txt").write_text("\n".join(sentence() for _ in range(60)))
    model = language_model()
    made = prepared(tmp_path, model, rows, support=text_folder(tmp_path / "support", "GPT2LMHeadModel"))
    found = judged(made, model)
    assert made.kind == "dataset" and found["name"] == "perplexity" and found["value"] > 1, made.notes
    assert any("masked and shuffled tokens" in note for note in made.notes)
    apart(made)


def test_pairs_of_texts_with_scores_are_judged_by_spearman(tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    lines = [f"{sentence()},{sentence()},{RNG.uniform(0, 5):.2f}" for _ in range(200)]
    (rows / "test.csv").write_text("\n".join(lines))
    (rows / "dev.csv").write_text("\n".join(f"{sentence()},{sentence()},{index % 5}.5" for index in range(80)))
    model = language_model(8, "last_hidden_state")
    made = prepared(tmp_path, model, rows, support=text_folder(tmp_path / "support"))
    found = judged(made, model)
    assert found and (found["name"], found["count"]) == ("spearman", 200) and made.evaluation_count == 400
    apart(made)


def test_two_texts_go_into_one_input_of_a_classifier(tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    body = "\n".join(f"{sentence()},{sentence()},{index % 3}" for index in range(60))
    (rows / "data.csv").write_text("premise,hypothesis,label\n" + body)
    support = text_folder(tmp_path / "support", "BertForSequenceClassification")
    made = prepared(tmp_path, language_model(), rows, support=support)
    assert made.truth.kind == "classes" and made.truth.group == 1 and "together" in made.source
    assert made.evaluation_count == len(made.truth.values) == 48


def test_one_long_recording_is_cut_into_pieces(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "only.wav").write_bytes(wav(RNG.uniform(-0.5, 0.5, 8000 * 24), rate=8000))
    made = prepared(tmp_path, models.lstm_with_state(), folder)
    assert made.kind == "dataset" and any("cut into 6 pieces" in note for note in made.notes), made.notes
    apart(made)


def test_one_short_sound_is_too_few(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "only.wav").write_bytes(wav([0.1, 0.2]))
    made = prepared(tmp_path, models.lstm_with_state(), folder)
    assert made.kind == "generated" and any("it has only 1 rows" in note for note in made.notes), made.notes


def test_long_lists_of_numbers_come_as_arrays_and_all_others_as_they_are(tmp_path):
    """Arrays cost a third; what has a gap, is short, or holds no numbers goes the way of all cells."""
    long = [float(number) for number in range(300)]
    gap = [*long[:299], None]
    lines = [
        {"x": long, "short": [1, 2], "gap": gap, "gone": long, "label": 1, "words": ["a"] * 300},
        {"x": long[::-1], "short": [3], "gap": long, "gone": None, "label": 0, "words": ["b"]},
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    columns = rows.read(tmp_path, 0)["train"].columns
    assert {name: {type(cell) for cell in cells} for name, cells in columns.items()} == {
        "x": {np.ndarray}, "short": {list}, "gap": {list}, "gone": {list, type(None)}, "label": {int}, "words": {list},
    }  # fmt: skip
    order = [1, 0] if columns["label"][0] == 0 else [0, 1]
    for name, cells in columns.items():  # the columns keep to the same rows
        assert [list(cell) if name == "x" else cell for cell in cells] == [lines[place][name] for place in order]
