"""Whether a model's work fits into a worker's memory, judged by the sizes of its files before anything is fetched."""

from collections.abc import Iterable

from django.conf import settings

from compression_service.engine.limits import STREAMED_FROM_BYTES
from compression_service.engine.measure.machine import container_limits, memory_bytes
from compression_service.jobs.sandbox import SandboxFailed
from models_registry.pages.templatetags.figures import in_bytes
from models_registry.repos.entries import Entry

# Peak of the largest process over the model's bytes; measured, docs/recipes.md "Memory" says how.
MEMORY_FACTOR = 4.0
STREAMED_FACTOR = 2.5  # of an ONNX model whose weights are read one at a time
_FORMATS = (  # the first which is there is converted
    (".onnx",),
    (".safetensors",),
    (".keras", ".h5", ".hdf5"),
    (".pb", ".data-00000-of-00001"),
    (".tflite",),
)
_NEVER_OPENED = (".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".gguf", ".ot", ".joblib")
_PYTORCH = "pytorch_model"


def check_room(model_bytes: int, verb: str, is_onnx: bool = True) -> None:
    """Raises SandboxFailed (refused) with the figures when a model of so many bytes is too large for this worker."""
    factor = STREAMED_FACTOR if is_onnx and model_bytes >= STREAMED_FROM_BYTES else MEMORY_FACTOR
    needed, (there, words) = int(factor * model_bytes), worker_memory()
    if needed > there:
        raise SandboxFailed(
            "refused",
            f"It needs about {in_bytes(needed)} of memory to {verb} ({factor:g} × its {in_bytes(model_bytes)});"
            f" this worker has {words}. Push a smaller model, or ask an administrator for a larger worker.",
        )


def worker_memory() -> tuple[int, str]:
    """(bytes, in words) which a job may use here: the limit of the settings, of the machine or of its container."""
    found = [(int(settings.JOB_MEMORY_GB * 1024**3), f"{settings.JOB_MEMORY_GB:g} GB")]
    limit = container_limits().get("memory.max", "")
    for size in (memory_bytes(), int(limit) if limit.isdecimal() else None):
        if size:
            found.append((size, in_bytes(size)))
    return min(found)


def is_onnx(entries: Iterable[Entry]) -> bool:
    """Whether the engine takes ONNX files: weights of other formats are held in memory by their framework."""
    return any(not entry.is_folder and entry.path.lower().endswith(_FORMATS[0]) for entry in entries)


def source_bytes(entries: Iterable[Entry]) -> int:
    """About how many bytes of weights the engine opens: those of the format which it takes, without made variants."""
    files = [entry for entry in entries if not entry.is_folder]
    for endings in _FORMATS:
        own = [entry for entry in files if entry.path.lower().endswith(endings)]
        if own:
            break
    else:
        return 0
    if endings != _FORMATS[0]:
        return sum(entry.size_bytes for entry in own)
    others = tuple(ending for group in _FORMATS[1:] for ending in group)
    # External data of a graph may have any name.
    data = [
        entry
        for entry in files
        if not entry.path.lower().endswith((*others, *_NEVER_OPENED)) and not entry.name.startswith(_PYTORCH)
    ]
    stems = {entry.path.partition(".onnx")[0] for entry in own}
    return sum(entry.size_bytes for entry in data if not _is_variant(entry.path, stems))


def _is_variant(path: str, stems: set[str]) -> bool:
    """`model_int8.onnx` beside `model.onnx` is no source."""
    stem, ending, _ = path.partition(".onnx")
    return bool(ending) and any(stem.startswith(f"{other}_") for other in stems)
