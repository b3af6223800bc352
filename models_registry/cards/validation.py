"""What is wrong in a card's metadata, with the line, in the Hub's wording (hub-protocol.md §2.6)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from models_registry.cards.licenses import LICENSES
from models_registry.cards.metadata import TASKS, CardError, lines_of, read_card

_MISSING = "empty or missing yaml metadata in repo card"
_TEXTS = ("language", "tags", "datasets", "base_model")
_TEXTS_OF_KIND = {
    "dataset": ("task_categories", "task_ids", "size_categories", "annotations_creators", "multilinguality"),
    "space": ("models",),
}
_SDKS = ("gradio", "streamlit", "docker", "static")
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_MAX_PROBLEMS = 20

# (metadata, kind of repository) → for each problem the path to the value and the rule which it breaks.
Check = Callable[[dict[str, Any], str], Iterable[tuple[tuple[str | int, ...], str]]]
_checks: dict[str, Check] = {}


def register_check(name: str, check: Check) -> None:
    """Let another app check what only it understands in a card, e.g. a part of the `fithub:` block."""
    _checks[name] = check


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `line` counts from the file's top; `path` leads to the value, e.g. ("model-index", 0)."""

    message: str
    line: int = 1
    path: tuple[str | int, ...] = ()


def validate(text: str, kind: str = "model") -> tuple[list[Problem], list[str]]:
    """`(errors, warnings)` for a README.md of a model, dataset, space or kernel.

    A card without metadata is allowed, with a warning. Costs at most some tenths of a second, whatever the text.
    """
    try:
        card = read_card(text)
    except CardError as error:
        return [Problem(str(error), error.line)], []
    found = []
    for problem in _problems(card.metadata, kind):
        found.append(problem)
        if len(found) == _MAX_PROBLEMS:
            break
    if found:
        lines = lines_of(text, [problem.path for problem in found])
        found = [Problem(p.message, line, p.path) for p, line in zip(found, lines, strict=True)]
    warnings = [] if card.metadata else [_MISSING]
    if kind == "model" and card.pipeline_tag and card.pipeline_tag not in TASKS:
        warnings.append(f'The pipeline tag "{card.pipeline_tag[:100]}" is not in the official list: {", ".join(TASKS)}')
    return found, warnings


def _problems(metadata: dict[str, Any], kind: str) -> Iterator[Problem]:
    license_ = metadata.get("license")
    names = license_ if isinstance(license_, list) else [license_] if license_ is not None else []
    known = set(LICENSES)
    if not all(isinstance(name, str) and name.strip().lower() in known for name in names):
        yield _problem("license", f"must be one of [{', '.join(LICENSES)}]")
    for key in ("pipeline_tag", "library_name"):
        if metadata.get(key) is not None and not isinstance(metadata[key], str):
            yield _problem(key, "must be a string")
    for key in (*_TEXTS, *_TEXTS_OF_KIND.get(kind, ())):
        if not _is_text_or_texts(metadata.get(key)):
            yield _problem(key, "must be a string or an array of strings")
    if metadata.get("fithub") is not None and not isinstance(metadata["fithub"], dict):
        yield _problem("fithub", "must be an object")
    for check in _checks.values():
        yield from (_problem_at(path, rule) for path, rule in check(metadata, kind))
    if kind == "space":
        yield from _one_of(metadata, "sdk", _SDKS)
        yield from _one_of(metadata, "colorFrom", _COLORS)
        yield from _one_of(metadata, "colorTo", _COLORS)
    if metadata.get("model-index") is not None:
        yield from _model_index(metadata["model-index"])


def _one_of(metadata: dict[str, Any], key: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    if metadata.get(key) is not None and metadata[key] not in allowed:
        yield _problem(key, f"must be one of [{', '.join(allowed)}]")


def _model_index(value: Any) -> Iterator[Problem]:
    """`[{name, results: [{task: {type}, dataset: {type, name}, metrics: [{type, value}]}]}]`."""
    if not isinstance(value, list):
        yield _problem("model-index", "must be an array")
        return
    for n, model in enumerate(value):
        at: tuple[str | int, ...] = ("model-index", n)
        if not isinstance(model, dict):
            yield _problem_at(at, "must be an object")
            continue
        yield from _text_in(model, at, "name")
        for m, result in enumerate(model.get("results") or []) if _is_list(model, "results") else ():
            here = (*at, "results", m)
            if not isinstance(result, dict):
                yield _problem_at(here, "must be an object")
                continue
            for part, keys in (("task", ("type",)), ("dataset", ("type", "name"))):
                if not isinstance(result.get(part), dict):
                    yield _problem_at((*here, part), "is required, as an object")
                else:
                    for key in keys:
                        yield from _text_in(result[part], (*here, part), key)
            if not _is_list(result, "metrics"):
                yield _problem_at((*here, "metrics"), "must be an array")
                continue
            for k, metric in enumerate(result.get("metrics") or []):
                if not isinstance(metric, dict) or not isinstance(metric.get("type"), str) or "value" not in metric:
                    yield _problem_at((*here, "metrics", k), 'must be an object with "type" and "value"')
        if not _is_list(model, "results"):
            yield _problem_at((*at, "results"), "must be an array")


def _text_in(where: dict[str, Any], path: tuple[str | int, ...], key: str) -> Iterator[Problem]:
    if where.get(key) is None:
        yield _problem_at((*path, key), "is required")
    elif not isinstance(where[key], str | int | float):
        yield _problem_at((*path, key), "must be a string")


def _is_list(where: dict[str, Any], key: str) -> bool:
    return where.get(key) is None or isinstance(where[key], list)


def _problem(key: str, rule: str) -> Problem:
    return _problem_at((key,), rule)


def _problem_at(path: tuple[str | int, ...], rule: str) -> Problem:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return Problem(f'"{name}" {rule}', path=path)


def _is_text_or_texts(value: Any) -> bool:
    return (
        value is None or isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    )
