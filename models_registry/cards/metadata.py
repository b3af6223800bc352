"""Cards: the YAML block at the top of a README.md, read safely, checked and turned into the Hub's tags."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

METADATA_MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 32
_MAX_VALUES = 100_000  # a second of work; the largest benchmark tables of real cards have half of that
_MAX_SEARCHED_CHARACTERS = 1_000_000  # of the Markdown, for arXiv numbers
_ARXIV = re.compile(r"arxiv(?:\.org/(?:abs|pdf)/|:\s?)(\d{4}\.\d{4,5})(?!\d)", re.IGNORECASE)
_START = re.compile(r"---[ \t]*(?=\r\n|\n|\r)")
_END = re.compile(r"(?:\r\n|\n|\r)---[ \t]*(?:\r\n|\n|\r|$)")
_LINE = re.compile(r"\r\n|\n|\r")


class CardError(ValueError):
    """The card's metadata cannot be read. The message is one sentence with `line`, counted from the file's top."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Card:
    """A README.md: `metadata` as plain JSON values ({} where there is none), and the Markdown below it."""

    metadata: dict[str, Any] = field(default_factory=dict)
    body: str = ""

    @property
    def pipeline_tag(self) -> str | None:
        return _text(self.metadata.get("pipeline_tag"))

    @property
    def library_name(self) -> str | None:
        return _text(self.metadata.get("library_name"))

    @cached_property
    def licenses(self) -> list[str]:
        return [name.lower() for name in _texts(self.metadata.get("license"))]

    @cached_property
    def languages(self) -> list[str]:
        return _texts(self.metadata.get("language", self.metadata.get("languages")))

    @cached_property
    def datasets(self) -> list[str]:
        """Dataset ids as the card names them, mostly `namespace/name`."""
        return _texts(self.metadata.get("datasets"))

    @cached_property
    def base_models(self) -> list[str]:
        return _texts(self.metadata.get("base_model"))

    @cached_property
    def tags(self) -> list[str]:
        return _texts(self.metadata.get("tags"))

    @property
    def model_index(self) -> list[Any] | None:
        value = self.metadata.get("model-index")
        return value if isinstance(value, list) else None

    @property
    def fithub(self) -> dict[str, Any]:
        """What the card says to this hub, e.g. which dataset calibrates; {} where it says nothing."""
        value = self.metadata.get("fithub")
        return value if isinstance(value, dict) else {}

    @cached_property
    def arxiv_ids(self) -> list[str]:
        return list(dict.fromkeys(_ARXIV.findall(self.body, 0, _MAX_SEARCHED_CHARACTERS)))


def read_card(text: str) -> Card:
    """Split and read a README.md. CardError when there is metadata which cannot be read."""
    front, body, first_line = split_card(text)
    return Card(_load(front, first_line) if front is not None else {}, body)


def split_card(text: str) -> tuple[str | None, str, int]:
    """The YAML text (None where there is no closed `---` block), the Markdown, and the line where the YAML starts."""
    span = front_span(text)
    if span is None:
        return None, text, 1
    end = _END.match(text, span[1])
    assert end is not None
    first_line = len(_LINE.findall(text, 0, span[0])) + 2
    return _LINE.sub("", text[slice(*span)], count=1), text[end.end() :], first_line


def front_span(text: str) -> tuple[int, int] | None:
    """Where in the text the YAML stands, with the line break before it and without the one after it."""
    mark = len(text) - len(text.removeprefix("\ufeff"))
    blank = len(text) - len(text[mark:].lstrip())
    start = _START.match(text, blank)
    if start is None or (blank > mark and text[blank - 1] not in "\r\n"):
        return None
    end = _END.search(text, start.end())
    return (start.end(), end.start()) if end is not None else None


def compose(front: str) -> Any:
    """The nodes of a card's YAML with their marks, for YAML which `read_card` took."""
    return yaml.compose(front, Loader=_Loader)


def lines_of(text: str, paths: Iterable[tuple[str | int, ...]]) -> list[int]:
    """The line, counted from the file's top, of each value in a card which `read_card` takes; where the value is not
    there, the line of what should hold it."""
    front, _, first_line = split_card(text)
    root = compose(front or "")
    found = []
    for path in paths:
        node, line = root, 0
        for part in path:
            if isinstance(node, yaml.MappingNode):
                pair = next(((key, value) for key, value in node.value if key.value == part), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
            else:
                break
        found.append(first_line + line)
    return found


def infer_library(card: Card, filenames: Iterable[str]) -> str | None:
    """The card's `library_name`, else what the files at the root say; None where nothing tells."""
    if card.library_name:
        return card.library_name
    names = set(filenames)
    for library, marks in _LIBRARY_MARKS:
        if any(mark in names for mark in marks):
            return library
    for library, suffixes in _LIBRARY_SUFFIXES:
        if any(name.endswith(suffixes) for name in names):
            return library
    return None


def infer_pipeline_tag(card: Card, filenames: Iterable[str] = (), config: dict[str, Any] | None = None) -> str | None:
    """The card's `pipeline_tag`, else a task among its tags, else what library and `config.json` say."""
    if card.pipeline_tag:
        return card.pipeline_tag
    for tag in card.tags:
        if tag in TASKS:
            return tag
    architectures = (config or {}).get("architectures")
    for architecture in _texts(architectures):
        for ending, task in _ARCHITECTURES:
            if architecture.endswith(ending):
                return task
    return "sentence-similarity" if infer_library(card, filenames) == "sentence-transformers" else None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's plain values: `no` is Norwegian and not false, dates stay text. No key may stand twice."""

    yaml_implicit_resolvers: dict[str, list] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key_node.value[:60]!r} stands twice", problem_mark=key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,18}$", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]{1,18}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))


def _load(front: str, first_line: int) -> dict[str, Any]:
    where = "The metadata at the top of README.md"
    value = load_yaml(front, first_line, where)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CardError(
            f"The metadata at line {first_line} of README.md must be a mapping such as `license: mit`.", first_line
        )
    return value  # type: ignore[no-any-return]


def load_yaml(text: str, first_line: int = 1, what: str = "The file") -> Any:
    """Somebody's YAML as JSON values: YAML 1.2's plain values, no tags, no aliases, bounded. Raises CardError."""
    if len(text) > METADATA_MAX_CHARACTERS:
        raise CardError(f"{what} is longer than 1 MB; shorten it.", first_line)
    try:
        _refuse_dangerous(text)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader below
    except yaml.MarkedYAMLError as error:
        line = first_line + (error.problem_mark.line if error.problem_mark else 0)
        expected = ", ".join(part for part in (error.context, error.problem) if part)
        raise CardError(f"{what} is not valid YAML at line {line}: {expected}.", line) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise CardError(
            f"{what} (line {first_line} on) holds characters which YAML does not allow.", first_line
        ) from error
    return _json_safe(value)


def _refuse_dangerous(front: str) -> None:
    # A first pass over flat events: nothing is built yet, so neither depth nor aliases can cost anything.
    depth = values = 0
    for event in yaml.parse(front, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        problem = None
        if values > _MAX_VALUES:
            problem = f"a card holds at most {_MAX_VALUES:,} values"
        elif isinstance(event, yaml.AliasEvent):
            problem = "aliases (*name) are not allowed in a card"
        elif getattr(event, "tag", None) not in (None, "!"):
            problem = "tags (!name) are not allowed in a card"
        elif depth > _MAX_DEPTH:
            problem = f"more than {_MAX_DEPTH} levels inside each other"
        if problem:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).replace("\0", "\ufffd"): _json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_safe(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")  # which PostgreSQL does not store
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _texts(value: Any) -> list[str]:
    found = [_text(item) for item in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(text for text in found if text))


_LIBRARY_MARKS = (
    ("peft", ["adapter_config.json"]),
    ("sentence-transformers", ["modules.json", "config_sentence_transformers.json"]),
    ("diffusers", ["model_index.json"]),
    ("transformers", ["config.json"]),
)
_LIBRARY_SUFFIXES = (
    ("onnx", (".onnx",)),
    ("gguf", (".gguf",)),
    ("keras", (".keras",)),
    ("tflite", (".tflite",)),
    ("sklearn", (".joblib", ".skops")),
)
_ARCHITECTURES = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForConditionalGeneration", "text2text-generation"),
    ("ForImageClassification", "image-classification"),
    ("ForObjectDetection", "object-detection"),
    ("ForSemanticSegmentation", "image-segmentation"),
    ("ForAudioClassification", "audio-classification"),
    ("ForCTC", "automatic-speech-recognition"),
    ("Model", "feature-extraction"),
)
_TASKS_TEXT = """
text-classification token-classification table-question-answering question-answering zero-shot-classification
translation summarization feature-extraction text-generation text2text-generation fill-mask sentence-similarity
text-to-speech text-to-audio automatic-speech-recognition audio-to-audio audio-classification
voice-activity-detection depth-estimation image-classification object-detection image-segmentation text-to-image
image-to-text image-to-image image-to-video unconditional-image-generation video-classification
reinforcement-learning robotics tabular-classification tabular-regression text-ranking text-retrieval
time-series-forecasting visual-question-answering document-question-answering zero-shot-image-classification
graph-ml mask-generation zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction
image-text-to-text text-to-video keypoint-detection any-to-any
"""
TASKS = tuple(_TASKS_TEXT.split())
