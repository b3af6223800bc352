"""What onnxruntime says of a model it does not take, in words for the contributor. Pure; no runtime is imported."""

from __future__ import annotations

import re

_CODES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed: ?|Non-zero status code returned while |"
    r"Name:'[^']*' Status Message: |\S+\.(?:cc|h):\d+ [^\n]*?\) (?=[A-Z])"
)
_NO_MEMORY = re.compile(r"bad allocation|bad_alloc|AllocateRawInternal|Failed to allocate memory|^Unable to allocate")
_SAID = (
    (re.compile(r"graph is not acyclic"), "the graph has a cycle: some nodes wait for each other's outputs"),
    (
        re.compile(r"No Op registered for (\S+) with domain_version of (\d+)"),
        r"it uses the operator \1, which version \2 of its operator set does not have; export it for another opset",
    ),
    (
        re.compile(r"([\w.]+):(\w+)\(-?\d+\) is not a registered function/op"),
        r"it uses the operator \2 of \1, which onnxruntime does not have; libraries of custom operators are never"
        r" loaded, export the model with standard ones",
    ),
    (
        re.compile(r"Could not find an implementation for (\w+)\((\d+)\) node"),
        r"the processor has no kernel for its operator \1 (opset \2) with the types of these tensors; bfloat16 is the"
        r" usual reason, export the model in float32",
    ),
    (
        re.compile(r"Node input '([^']*)' is not a graph input, initializer, or output of a previous node"),
        r"a node reads the tensor '\1', which nothing makes and which was not pushed",
    ),
    (
        re.compile(r"Graph output \(([^)]*)\) does not exist in the graph"),
        r"its output '\1' is made by no node",
    ),
)


def in_words(error: BaseException, limit: int = 240) -> str:
    """The runtime's first line without its codes and paths; want of memory and broken graphs in plain words."""
    text = str(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return "it needs more memory than there is for one job"
    for pattern, words in _SAID:
        found = pattern.search(text)
        if found:
            return found.expand(words)[:limit]
    lines = [line for line in _CODES.sub("", text).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:limit]
