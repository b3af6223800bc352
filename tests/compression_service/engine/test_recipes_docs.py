"""docs/recipes.md tells every recipe and every pass as the code has them."""

from __future__ import annotations

from pathlib import Path

from compression_service.engine.applicability import PASSES
from compression_service.engine.recipes import RECIPES

DOCS = Path(__file__).parents[3] / "docs" / "recipes.md"


def test_the_tables_of_the_docs_are_those_of_the_code():
    text = DOCS.read_text(encoding="utf-8")
    for one in RECIPES:
        assert f"| `{one.name}` | `onnx/model{one.suffix}.onnx` | {one.title}. {one.why} |" in text, one.name
    for name, module in PASSES.items():
        assert name == "keep" or f"| `{name}` | {module.SOURCE} |" in text, name
