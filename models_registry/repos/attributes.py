"""`.gitattributes` and `.gitignore`: which files go to LFS, which are left out. The matching is dulwich's."""

import io

from dulwich.attrs import GitAttributes, compile_gitattributes_patterns, parse_git_attributes
from dulwich.ignore import IgnoreFilter

from models_registry.repos.models import RepoType

LFS = "filter=lfs diff=lfs merge=lfs -text"
# hub-protocol §2.6: what a new repository sends to LFS.
_ALWAYS = [
    "*.7z",
    "*.arrow",
    "*.bin",
    "*.bz2",
    "*.ckpt",
    "*.ftz",
    "*.gz",
    "*.h5",
    "*.joblib",
    "*.lfs.*",
    "*.mlmodel",
    "*.model",
    "*.msgpack",
    "*.npy",
    "*.npz",
    "*.onnx",
    "*.ot",
    "*.parquet",
    "*.pb",
    "*.pickle",
    "*.pkl",
    "*.pt",
    "*.pth",
    "*.rar",
    "*.safetensors",
    "saved_model/**/*",
    "*.tar.*",
    "*.tar",
    "*.tflite",
    "*.tgz",
    "*.wasm",
    "*.xz",
    "*.zip",
    "*.zst",
    "*tfevents*",
]
_DATASETS = [
    "*.lz4",
    "*.mds",
    "*.pcm",
    "*.sam",
    "*.raw",
    "*.aac",
    "*.flac",
    "*.mp3",
    "*.ogg",
    "*.wav",
    "*.bmp",
    "*.gif",
    "*.png",
    "*.tiff",
    "*.jpg",
    "*.jpeg",
    "*.webp",
    "*.mp4",
    "*.webm",
]


def default_attributes(kind: RepoType) -> bytes:
    """The `.gitattributes` of a new repository."""
    patterns = _ALWAYS + (_DATASETS if kind is RepoType.DATASET else [])
    return "".join(f"{pattern} {LFS}\n" for pattern in patterns).encode()


class LfsRules:
    """Answers whether a `.gitattributes` text sends a path to LFS."""

    def __init__(self, text: bytes) -> None:
        self._rules = GitAttributes(compile_gitattributes_patterns(parse_git_attributes(io.BytesIO(text))))

    def takes(self, path: str) -> bool:
        value = self._rules.match_path(path.encode("utf-8", "surrogateescape")).get(b"filter")
        return value == b"lfs"


def rule_for(path: str) -> bytes:
    """A `.gitattributes` line for this path. A space ends a pattern there, so `?` stands for it."""
    escaped = "".join(f"[{c}]" if c in "*?[#!" else "?" if c.isspace() or c in '"\\' else c for c in path)
    return f"{escaped} {LFS}\n".encode()


class IgnoreRules:
    """Answers whether a `.gitignore` text leaves a path out."""

    def __init__(self, text: bytes) -> None:
        self._rules = IgnoreFilter(line for line in text.splitlines() if line.strip() and not line.startswith(b"#"))

    def takes(self, path: str) -> bool:
        parts = path.split("/")
        folders = ["/".join(parts[:n]) + "/" for n in range(1, len(parts))]
        return any(bool(self._rules.is_ignored(candidate)) for candidate in [*folders, path])
