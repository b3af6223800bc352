"""A tiny encoder of text as the loaders of transformers know one: config, tokenizer, graph. Weights come from a seed."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.compression_service.engine import engine_models
from tests.live.hub_process import Hub

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "model", "which", "fits", "the", "machine", "small", "fast", "and", "of", "hub", "budget"]
WIDTH = 64
TEXT = "A small model which fits the machine"


def write_encoder(folder: Path) -> Path:
    """input_ids, attention_mask → last_hidden_state [batch, sequence, 64]."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    engine_models.saved(_graph(len(vocabulary)), folder / "model.onnx")
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    made.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    tokens = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32, **names}
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(vocabulary), "hidden_size": WIDTH,
        "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 32, "type_vocab_size": 2, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    card = "---\nlicense: mit\npipeline_tag: feature-extraction\nlibrary_name: transformers\n---\n# A tiny encoder\n"
    (folder / "README.md").write_text(card)
    return folder


def _graph(words: int) -> engine_models.ModelProto:
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        values = rng.standard_normal(shape) / np.sqrt(shape[0])
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["embedded"]),
        helper.make_node("MatMul", ["embedded", "wider"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["positive"]),
        helper.make_node("MatMul", ["positive", "narrower"], ["narrow"]),
        helper.make_node("Add", ["embedded", "narrow"], ["summed"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["masks"]),
        helper.make_node("Mul", ["summed", "masks"], ["last_hidden_state"]),
    ]
    held = [
        weights("words", words, WIDTH), weights("wider", WIDTH, 2 * WIDTH), weights("narrower", 2 * WIDTH, WIDTH),
        numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
    ]  # fmt: skip
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", WIDTH])
    return engine_models.model(nodes, inputs, [output], held)


def expected(hub: Hub, repo: str, commit: str, graph: str, folder: Path) -> np.ndarray:
    """What onnxruntime makes of TEXT with a commit's own tokenizer and graph."""
    for name in ("tokenizer.json", graph):
        (folder / Path(name).name).write_bytes(hub.call("GET", f"/{repo}/resolve/{commit}/{name}").body)
    encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT)
    session = onnxruntime.InferenceSession(str(folder / Path(graph).name), providers=["CPUExecutionProvider"])
    feeds = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask}
    (output,) = session.run(None, {name: np.array([values], dtype=np.int64) for name, values in feeds.items()})
    assert isinstance(output, np.ndarray)
    return output


def push_encoder(hub: Hub, folder: Path, repo: str) -> str:
    """Write the encoder, push it, and wait until its family is there; returns the repository."""
    hub.push(repo, write_encoder(folder))
    family = hub.wait_family(repo)
    assert family["source"]["status"] == "ready", family["source"]
    return repo
