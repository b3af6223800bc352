"""What a peer's recipe is, and the data reader which several of them ask for. Imported in the peers' environments too."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Feed = dict[str, Any]
TEXT = ("text",)
ALL = ("text", "image", "audio", "bytes")


@dataclass(frozen=True)
class Job:
    """One file to compress: where it is, where the result goes, and the calibration rows."""

    source: Path
    out: Path
    feeds: list[Feed]
    kind: str
    config: Path | None  # of a transformers folder
    scratch: Path


@dataclass(frozen=True)
class Recipe:
    """A call of the tool; `quick` ones belong to --quick."""

    run: Callable[[Job], None]
    kinds: tuple[str, ...] = ALL
    quick: bool = False


class Reader:
    """Calibration rows as onnxruntime and Neural Compressor read them."""

    def __init__(self, feeds: list[Feed]) -> None:
        self.feeds, self.left = feeds, iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.left, None)

    def rewind(self) -> None:
        self.left = iter(self.feeds)

    def __iter__(self) -> Iterator[Feed]:
        return iter(self.feeds)

    def __len__(self) -> int:
        return len(self.feeds)


def largest_onnx(folder: Path) -> Path:
    """The ONNX file which a command line left somewhere below a folder. FileNotFoundError when there is none."""
    found = sorted(folder.rglob("*.onnx"), key=lambda path: path.stat().st_size)
    if not found:
        raise FileNotFoundError("the tool wrote no ONNX file")
    return found[-1]
