"""Comments as safe HTML: what cards.markdown makes safe, and the images, videos and sounds attached on this hub."""

import re
from functools import lru_cache
from html import escape

from django.utils.safestring import SafeString, mark_safe

from models_registry.cards.markdown import render_card
from models_registry.community.discussions.attachments import TYPES

HIDDEN = "This comment has been hidden"
_NAME = r"[0-9a-f]{32}\.(?:" + "|".join(sorted({kind.ending for kind in TYPES.values()})) + ")"
# Whatever host stands before it: a hub is reached under several names.
_ADDRESS = re.compile(rf"(?:https?://[^\s/()<>\"']+)?/uploads/({_NAME})")
_PLACE = "attached-here"
_ALONE = re.compile(rf"<p>\s*/uploads/({_NAME})\s*</p>")
_VIDEOS = (".mp4", ".webm", ".mov")
_SOUNDS = (".mp3", ".wav")


@lru_cache(maxsize=512)
def render_comment(text: str, repository_path: str) -> SafeString:
    """Safe HTML of a comment's Markdown; relative links lead to the repository's files on main."""
    links, images = f"/{repository_path}/blob/main/", f"/{repository_path}/resolve/main/"
    # An attachment stands for a file of the repository while the rest is made safe: such a link is always kept.
    text = re.sub(r"<(audio|video)\b[^>]*\bsrc=[\"']([^\"']+)[\"'][^>]*>\s*</\1>", r"\n\n\2\n\n", text)
    html = render_card(_ADDRESS.sub(rf"{_PLACE}/\1", text), link_base=links, image_base=images)
    for base in (images, links, ""):
        html = re.sub(rf"{re.escape(base)}{_PLACE}/({_NAME})", r"/uploads/\1", html)
    return mark_safe(_ALONE.sub(_player, html))  # noqa: S308  cleaned by cards.markdown


def _player(match: re.Match[str]) -> str:
    """A bare address of a video or sound is shown as one."""
    address = escape(f"/uploads/{match[1]}")
    if address.endswith(_VIDEOS):
        return f'<p><video controls preload="metadata" src="{address}"></video></p>'
    if address.endswith(_SOUNDS):
        return f'<p><audio controls preload="metadata" src="{address}"></audio></p>'
    return f'<p><img src="{address}" alt="attached image"></p>'
