from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from compression_service.engine.convert.act import convert
from compression_service.engine.errors import RefusedError

EXTRA = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
CONFIG = {"model_type": "bert", "architectures": ["BertModel"]}


def folder(path, config):
    from safetensors.numpy import save_file

    path.mkdir()
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    save_file({"a": np.zeros((2, 2), np.float32)}, path / "model.safetensors")
    return path


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("{", "not readable JSON"),
        ({"architectures": ["X"]}, "no model_type"),
        ({**CONFIG, "auto_map": {"AutoModel": "evil.Model"}}, "never run"),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path, config, sentence):
    with pytest.raises(RefusedError, match=sentence):
        convert(folder(tmp_path / "source", config), tmp_path / "out", tmp_path / "work")


def test_without_the_extra_the_refusal_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails, installed or not
    with pytest.raises(RefusedError, match=r"convert extra \(make convert\)"):
        convert(folder(tmp_path / "source", CONFIG), tmp_path / "out", tmp_path / "work")


@pytest.mark.convert
@pytest.mark.skipif(not EXTRA, reason="torch and transformers (the convert extra) are not installed")
@pytest.mark.parametrize("head", ["BertModel", "BertForSequenceClassification"])
def test_a_small_bert_comes_out_as_onnx(tmp_path, head):
    import transformers

    config = transformers.BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    getattr(transformers, head)(config).save_pretrained(tmp_path / "source")
    converted = convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")
    assert converted["format"] == "transformers"
    assert converted["evidence"]["max_difference_to_torch"] < 1e-4
    component = converted["components"][0]
    assert [entry["name"] for entry in component["inputs"]] == ["input_ids", "attention_mask", "token_type_ids"]
    assert component["inputs"][0]["shape"] == ["batch", "sequence"]
    assert component["outputs"][0]["name"] == ("last_hidden_state" if head == "BertModel" else "logits")
    assert converted["support_files"] == ["config.json"]
