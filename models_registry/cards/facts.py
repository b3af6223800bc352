"""What the files at main's head say of a repository: formats, configuration, parameters, results of benchmarks.

Kept in `Repository.file_facts` and carried from commit to commit: a commit of one file to a repository of 100,000 looks
at that file, not at the others.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import yaml

from models_registry.cards.metadata import CardError, load_yaml
from models_registry.repos import git_objects as git
from models_registry.repos.changes import Changes
from models_registry.repos.entries import Entry, read_small, sized
from models_registry.repos.models import Repository
from models_registry.repos.revisions import commit_at
from models_registry.scanning.services import headers_of

VERSION = 1  # of the rules below: facts of another version are worked out anew
MAX_JSON_BYTES = 2_000_000
_MAX_KEPT_CHARACTERS = 50_000
_MAX_SHARDS = 1000
_MAX_EVAL_FILES = 50
_MAX_EVAL_ROWS = 500
EVAL_FOLDER = ".eval_results/"

# What a name's end, or a name at the root, tells: library and format tags are made of these counts.
ENDINGS = (
    ".onnx", ".gguf", ".keras", ".tflite", ".joblib", ".skops", ".safetensors", ".pt", ".pth", ".mlmodel", ".mlpackage",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "openvino_model.xml",
    ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".txt", ".png", ".jpg", ".jpeg", ".wav",
    ".mp3", ".flac", ".mp4", ".tar",
)  # fmt: skip
MARKS = (
    "adapter_config.json", "modules.json", "config_sentence_transformers.json", "model_index.json", "config.json",
)  # fmt: skip
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "adapter_config.json", "model_index.json")
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "chat_template")
_KEPT_OF_CONFIG = ("architectures", "model_type", "auto_map", "quantization_config", "task_specific_params")


def facts_of(repository: Repository, commit: str, before: dict[str, Any] | None, changes: Changes) -> dict[str, Any]:
    """The facts at a commit, from those of the commit before and what changed since (None: everything is new)."""
    facts: dict[str, Any] = dict(before or {})
    facts["version"] = VERSION
    endings = dict(facts.get("endings", {}))
    for entries, step in ((changes.added, 1), (changes.removed, -1)):
        for entry in entries:
            for ending in _endings(entry.path):
                endings[ending] = endings.get(ending, 0) + step
    facts["endings"] = {ending: count for ending, count in endings.items() if count > 0}
    touched = {entry.path for entry in (*changes.added, *changes.removed)}
    asked = {
        "config": any(path in _CONFIGURATIONS for path in touched),
        "weights": any("/" not in path and path.endswith((".safetensors", ".gguf", _INDEX)) for path in touched),
        "evals": any(path.startswith(EVAL_FOLDER) for path in touched),
    }
    if any(asked.values()):
        root = _folder(repository, commit_at(repository, commit).tree, "")
        if asked["config"]:
            facts["config"] = _configuration(repository, root)
        if asked["weights"]:
            facts.pop("safetensors", None)
            facts.pop("gguf", None)
            facts |= _weights(repository, root)
        if asked["evals"]:
            facts["eval_results"] = _evaluations(repository, root)
    return {key: value for key, value in facts.items() if value}


def names_of(facts: dict[str, Any]) -> list[str]:
    """The endings and root names there are, for the rules which look at names."""
    return [*facts.get("endings", {})]


def storable(value: Any, depth: int = 0) -> Any:
    """A JSON value which every database takes: no NUL, no NaN, no number beyond a double, not too deep."""
    if depth > 32:
        return None
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(str(key)): storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if isinstance(value, int) and abs(value) > 2**63 else value


def _endings(path: str) -> Iterable[str]:
    lower = path.lower()
    yield from (ending for ending in ENDINGS if lower.endswith(ending))
    if path in MARKS:
        yield path


def _folder(repository: Repository, tree: str, prefix: str) -> dict[str, git.TreeItem]:
    return {prefix + name: item for name, item in git.read_tree(repository, tree).items()}


def _entries(repository: Repository, found: dict[str, git.TreeItem], paths: Iterable[str]) -> list[Entry]:
    wanted = [(path, found[path]) for path in paths if path in found and not found[path].is_folder]
    return list(sized(repository, wanted))


def _configuration(repository: Repository, root: dict[str, git.TreeItem]) -> dict[str, Any]:
    """The `config` of the protocol: a few keys of config.json, the tokenizer's tokens, the adapter's base."""
    read = {entry.path: _json(repository, entry) for entry in _entries(repository, root, _CONFIGURATIONS)}
    own = read.get("config.json", {})
    config = {key: own[key] for key in _KEPT_OF_CONFIG if own.get(key) is not None}
    tokenizer = read.get("tokenizer_config.json", {})
    tokens = {key: text for key in _TOKENS if (text := _token(tokenizer.get(key))) is not None}
    if tokens:
        config["tokenizer_config"] = tokens
    adapter = read.get("adapter_config.json", {})
    peft = {key: adapter[key] for key in ("base_model_name_or_path", "task_type", "peft_type") if adapter.get(key)}
    if peft:
        config["peft"] = peft
    pipeline = read.get("model_index.json", {}).get("_class_name")
    if isinstance(pipeline, str):
        config["diffusers"] = {"_class_name": pipeline}
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if len(json.dumps(value)) <= _MAX_KEPT_CHARACTERS:
            kept[key] = value
    return kept


def _token(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _json(repository: Repository, entry: Entry) -> dict[str, Any]:
    if entry.sha256 or entry.size_bytes > MAX_JSON_BYTES:
        return {}
    try:
        value = json.loads(read_small(repository, entry))
    except (ValueError, RecursionError):
        return {}  # a contributor's file, not ours: it says nothing then
    found = storable(value)
    return found if isinstance(found, dict) else {}


def _weights(repository: Repository, root: dict[str, git.TreeItem]) -> dict[str, Any]:
    """`{"safetensors": {"parameters", "total"}, "gguf": {…}}` of the model's own files at the root."""
    found: dict[str, Any] = {}
    entries = _entries(repository, root, _model_files(repository, root))
    headers = headers_of(entries)
    if entries and all(entry.sha256 in headers and not headers[entry.sha256].problem for entry in entries):
        counts: dict[str, int] = {}
        for entry in entries:
            for kind, count in headers[entry.sha256].facts.items():
                counts[kind] = counts.get(kind, 0) + count
        found["safetensors"] = {"parameters": counts, "total": sum(counts.values())}
    elif entries:
        problems = {entry.path: headers[entry.sha256].problem for entry in entries if entry.sha256 in headers}
        found["notes"] = [f"{path}: {problem}" for path, problem in problems.items() if problem][:5]
    first = next((path for path in root if path.endswith(".gguf")), None)
    gguf = _entries(repository, root, [first] if first else [])
    for header in headers_of(gguf).values():
        if header.facts:
            found["gguf"] = header.facts
    return found


def _model_files(repository: Repository, root: dict[str, git.TreeItem]) -> list[str]:
    """`model.safetensors`, else the shards which the index names, else the one safetensors file there is."""
    if _SINGLE in root:
        return [_SINGLE]
    if _INDEX in root:
        for entry in _entries(repository, root, [_INDEX]):
            shards = _json(repository, entry).get("weight_map")
            if isinstance(shards, dict):
                names = dict.fromkeys(name for name in shards.values() if isinstance(name, str))
                return list(names)[:_MAX_SHARDS] if all(name in root for name in names) else []
    single = [path for path in root if path.endswith(".safetensors")]
    return single if len(single) == 1 else []


def _evaluations(repository: Repository, root: dict[str, git.TreeItem]) -> list[dict[str, Any]]:
    """The rows of `.eval_results/*.yaml`; a file which can not be read is named with its problem."""
    folder = root.get(EVAL_FOLDER.rstrip("/"))
    if folder is None or not folder.is_folder:
        return []
    found = _folder(repository, folder.oid, EVAL_FOLDER)
    names = [path for path in found if path.endswith((".yaml", ".yml"))][:_MAX_EVAL_FILES]
    rows: list[dict[str, Any]] = []
    for entry in _entries(repository, found, names):
        try:
            if entry.sha256 or entry.size_bytes > MAX_JSON_BYTES:
                raise CardError("a file of results is a small text")  # noqa: TRY301
            value = load_yaml(read_small(repository, entry).decode("utf-8", "replace"))
            parts = value if isinstance(value, list) else [value]
            if not all(_is_result(part) for part in parts):
                raise CardError("each result needs dataset.id, dataset.task_id and value")  # noqa: TRY301
            rows += [{"filename": entry.path, "data": storable(part)} for part in parts]
        except (CardError, yaml.YAMLError) as error:
            rows.append({"filename": entry.path, "error": str(error)[:500]})
    return rows[:_MAX_EVAL_ROWS]


def _is_result(part: Any) -> bool:
    dataset = part.get("dataset") if isinstance(part, dict) else None
    return isinstance(dataset, dict) and {"id", "task_id"} <= set(dataset) and "value" in part
