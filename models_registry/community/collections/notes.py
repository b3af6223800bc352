"""Notes as HTML: Markdown by the same cleaner as cards, so that nothing in a note can act."""

from functools import lru_cache

from models_registry.cards.markdown import render_card


@lru_cache(maxsize=4096)
def note_html(text: str) -> str:
    """Safe HTML for a note or a description."""
    return render_card(text, link_base="/", image_base="/")
