"""Cards as HTML: Markdown and the HTML inside it, made safe, with links and images led to the repository's files."""

import re
from html import escape
from html.parser import HTMLParser
from posixpath import normpath
from urllib.parse import SplitResult, quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.tasklists import tasklists_plugin

CARD_MAX_CHARACTERS = 400_000
RAW_TAGS_MAX = 10_000  # more cost seconds to clean when they stand inside each other; then they are shown as text
ID_PREFIX = "card-"  # so that no heading can take the place of an id of our own pages

_TAGS_TEXT = """
a abbr b blockquote br caption center cite code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4
h5 h6 hr i img input ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead
tr u ul var
"""
_TAGS = set(_TAGS_TEXT.split())
_ALIGNED = (
    "caption",
    "center",
    "col",
    "div",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "img",
    "p",
    "table",
    "td",
    "th",
    "tr",
)
_ATTRIBUTES: dict[str, set[str]] = {
    "*": {"id", "title", "dir", "lang"},
    "a": {"href", "name"},
    "code": {"class"},
    "details": {"open"},
    "img": {"src", "alt", "width", "height"},
    "input": {"type", "checked", "disabled"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "style"},
    "th": {"colspan", "rowspan", "style"},
}
for _name in _ALIGNED:
    _ATTRIBUTES.setdefault(_name, set()).add("align")
_CONTENT_DROPPED = {
    "script",
    "style",
    "iframe",
    "object",
    "embed",
    "noscript",
    "template",
    "svg",
    "math",
    "title",
    "textarea",
}
_SCHEMES = {"http", "https", "mailto"}
_VOID = {"br", "col", "hr", "img", "input"}
_LANGUAGE_CLASS = re.compile(r"language-[A-Za-z0-9_+#-]{1,40}")
_TEXT_ALIGN = re.compile(r"text-align:\s*(left|right|center)")
_RAW_TAG = re.compile(r"<[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


def _parser(raw_html: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": raw_html}).enable(["table", "strikethrough"])
    return parser.use(tasklists_plugin).use(anchors_plugin, max_level=6)


_with_html, _without_html = _parser(True), _parser(False)


def render_card(markdown_text: str, *, link_base: str, image_base: str) -> str:
    """Safe HTML for a card's Markdown (without its YAML).

    Relative links go below `link_base` (e.g. `/me/model/blob/main/`), relative images below `image_base` (e.g.
    `/me/model/resolve/main/`); `..` never leaves them. Images from elsewhere become links, so that reading a card calls
    nobody. No script, style, form or `data:` address is left. Longer cards than 400,000 characters are cut, and say so.
    """
    cut = len(markdown_text) > CARD_MAX_CHARACTERS
    markdown_text = markdown_text[:CARD_MAX_CHARACTERS]
    parser = _with_html if len(_RAW_TAG.findall(markdown_text)) <= RAW_TAGS_MAX else _without_html
    rendered = parser.render(markdown_text)
    # Cleaned first, so that the rewriting reads well-formed HTML; cleaned again, so that nothing depends on it.
    rewriter = _Rewriter(_slashed(link_base), _slashed(image_base))
    rewriter.feed(_clean(rendered))
    rewriter.close()
    html = _clean("".join(rewriter.parts), image_base=_slashed(image_base))
    return html + "<p><em>This card is cut here; open the file to read all of it.</em></p>" if cut else html


def _clean(html: str, image_base: str | None = None) -> str:
    def keep(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "class":
            return value if _LANGUAGE_CLASS.fullmatch(value) else None
        if attribute == "src" and image_base is not None:
            return value if value.startswith((image_base, "/")) and not value.startswith("//") else None
        return value

    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags=_CONTENT_DROPPED,
        url_schemes=_SCHEMES,
        attribute_filter=keep,
        link_rel="nofollow noopener noreferrer",
    )


class _Rewriter(HTMLParser):
    """Writes clean HTML again with addresses resolved, ids prefixed and foreign images as links."""

    def __init__(self, link_base: str, image_base: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._link_base = link_base
        self._image_base = image_base
        self._links_open = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "img":
            if attributes.get("id"):
                attributes["id"] = ID_PREFIX + attributes["id"]
            self._image(attributes)
            return
        if tag == "input":
            if attributes.get("type") == "checkbox":
                checked = ' checked=""' if "checked" in attributes else ""
                self.parts.append(f'<input type="checkbox" disabled=""{checked}>')
            return
        if tag == "a":
            self._links_open += 1
            if "href" in attributes:
                attributes["href"] = self._link(attributes["href"])
            attributes.setdefault("id", attributes.pop("name", ""))
        if attributes.get("id"):
            attributes["id"] = ID_PREFIX + attributes["id"]
        else:
            attributes.pop("id", None)
        align = _TEXT_ALIGN.match(attributes.pop("style", ""))
        if align:
            attributes["align"] = align[1]
        self._start(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._links_open -= 1
        if tag not in _VOID:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(escape(data))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        text = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        self.parts.append(f"<{tag}{text}>")

    def _image(self, attributes: dict[str, str]) -> None:
        source = attributes.pop("src", "")
        inside = _inside(source, self._image_base)
        if inside is not None:
            self._start("img", {"src": inside, **attributes})
            return
        label = escape(attributes.get("alt") or "image")
        # A link cannot stand in a link: there the words alone are left.
        if self._links_open or _split(source) is None:
            self.parts.append(label)
        else:
            self.parts.append(f'<a href="{escape(source)}">{label}</a>')

    def _link(self, address: str) -> str:
        if address.startswith("#"):
            return "#" + ID_PREFIX + address[1:] if len(address) > 1 else "#"
        parts = _split(address)
        if parts is None:
            return "#"
        if parts.scheme or parts.netloc or address.startswith("/"):
            return address
        return _inside(address, self._link_base) or "#"


def _split(address: str) -> SplitResult | None:
    """`urlsplit`, or None for what is no address at all, e.g. `http://[`."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _inside(address: str, base: str) -> str | None:
    """A repository's relative address below `base`; None when it leads elsewhere."""
    parts = _split(address)
    if parts is None or not address or _CONTROL.search(address) or parts.scheme or parts.netloc:
        return None
    if address.startswith("/") and "/resolve/" in address and ".." not in address:
        return address
    path = normpath("/" + unquote(parts.path)).lstrip("/")
    query = f"?{parts.query}" if parts.query else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{base}{quote(path, safe='/~!@$()*,;=+-._')}{query}{fragment}"


def _slashed(base: str) -> str:
    return base if base.endswith("/") else base + "/"
