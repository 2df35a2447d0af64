"""Text of models and imports is hostile: what reaches the page is safe, and still readable."""

from __future__ import annotations

import cProfile
import re
from html.parser import HTMLParser

import pytest

from frontend.rendering import TAGS, beginning, render

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\tscript:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[click](vbscript:msgbox(1))",
    "[click](/accounts/logout/)",
    "[click](//evil.example/x)",
    '[click](https://x.example "onmouseover=alert(1)")',
    '[click](https://x.example/"onmouseover="alert(1))',
    "<javascript:alert(1)>",
    "![x](https://evil.example/track.png)",
    '![x" onerror="alert(1)](x)',
    "[1]: javascript:alert(1)\n\n[1]",
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "<style>body{display:none}</style>",
    "<p style='position:fixed'>over all</p>",
    "<form action=https://evil.example><input name=password></form>",
    "<a href='https://evil.example' target=_top onclick='x'>x</a>",
    "</div></main><script>alert(1)</script>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<!-- --><script>alert(1)</script>",
    "\x00<script\x00>alert(1)</script>",
]


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_markdown_leaves_only_harmless_elements(payload: str) -> None:
    for tag, attributes in Elements(render(payload, passages=["1"])).found:
        assert tag in TAGS
        assert set(attributes) <= {"href", "class", "rel", "start"}
        if (href := attributes.get("href")) is not None:
            assert re.match(r"https?://|mailto:|#passage-\d+$", href)


@pytest.mark.parametrize(
    "markdown, html",
    [
        ("**bold** and *soft*", "<strong>bold</strong> and <em>soft</em>"),
        ("- one\n- two", "<li>one</li>"),
        ("| a |\n| - |\n| 1 |", "<td>1</td>"),
        ("~~gone~~", "<s>gone</s>"),
        ("one\ntwo", "one<br>"),
        ("# A response's title", "<h4>A response's title</h4>"),
        ("#### Deep", "<h6>Deep</h6>"),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("```python\ndef f(): ...\n```", '<span class="k">def</span>'),
        ("```nolanguage\na < b\n```", "a &lt; b"),
    ],
)
def test_markdown_reads_as_its_writer_meant(markdown: str, html: str) -> None:
    assert html in render(markdown)


def test_links_lead_out_without_telling_where_from() -> None:
    assert render("[x](https://example.org/a?b=1&c=2)") == (
        '<p><a href="https://example.org/a?b=1&amp;c=2" rel="noopener noreferrer nofollow">x</a></p>\n'
    )


def test_a_citation_links_to_its_passage_and_only_to_one_that_is_there() -> None:
    html = render("Tides follow the moon [b] and `[a]` not the sun [z].", passages=["a", "b"])

    assert '<a href="#passage-2" class="citation"' in html
    assert html.count("<a ") == 1
    assert "<code>[a]</code>" in html and "[z]" in html


def test_an_image_is_named_and_never_fetched() -> None:
    html = render("![a *fine* chart](https://evil.example/x.png)")

    assert "[image: a fine chart]" in html
    assert "evil" not in html


def test_code_too_long_to_colour_is_still_shown_whole() -> None:
    code = "x = 1\n" * 10_000

    assert render(f"```python\n{code}```").count("x = 1") == 10_000


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("**Bold** and `code`,\n\n- a list", "Bold and code, a list"),
        ("## A title\nText 1 < 2 & 3", "A title Text 1 < 2 & 3"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("word " * 50, "word word word word word word word word…"),
        ("", ""),
    ],
)
def test_a_beginning_is_what_is_read_on_one_line(markdown: str, words: str) -> None:
    assert beginning(markdown, 40) == words


@pytest.mark.parametrize(
    ("markdown", "formulas"),
    [
        ("So $x^2$ and $a_1 b_1$.", ["x^2", "a_1 b_1"]),
        (r"By \(a*b*c\) and \[x = y\].", ["a*b*c", "x = y"]),
        ("$$\na\n= b\n- c\n$$", ["a\n= b\n- c"]),
        ("- first\n  $$x\n  + y$$", ["x\n+ y"]),
        ("$$a$$ and $$b$$ on a line", ["a", "b"]),
        (r"**$\alpha$**", [r"\alpha"]),
        ("$5 and $10", []),
        ("It costs $5-$10.", []),
        ("US$5, A$6", []),
        ("$5 for lunch, 6$", []),
        ("$1,000 and more$", []),
        ("$HOME/bin:$PATH", []),
        (r"\$x\$", []),
        ("`$x$`", []),
        ("```\n$x$\n```", []),
        (r"\[1\] and \[sic\]", []),
        (r"\(said in passing\)", []),
        ("$$\nnever closed", []),
        ("$$\n\nx\n$$", []),
    ],
)
def test_formulas_are_kept_from_markdown_and_prices_are_no_formulas(
    markdown: str, formulas: list[str]
) -> None:
    found = re.findall(r'<span class="math(?: math-display)?">(.*?)</span>', render(markdown), re.DOTALL)

    assert found == formulas


def test_a_formula_is_text_until_the_page_draws_it() -> None:
    assert render("$<img src=x onerror=alert(1)>$") == (
        '<p><span class="math">&lt;img src=x onerror=alert(1)&gt;</span></p>\n'
    )


@pytest.mark.parametrize("sign", ["$x ", "$$\n", r"\[", "$$\nx\n"])
def test_signs_of_formulas_without_an_end_take_work_in_proportion(sign: str) -> None:
    def calls(text: str) -> int:
        profile = cProfile.Profile()
        profile.runcall(render, text)
        return sum(entry.callcount for entry in profile.getstats())

    render(sign)
    assert calls(sign * 8_000) < 2.5 * calls(sign * 4_000)


def test_a_list_of_citations_leads_to_each_passage() -> None:
    html = render("Twice a day [1, 2; 1].", passages=["1", "2"])

    assert re.findall(r'href="(#passage-\d)"[^>]*>([^<]*)<', html) == [
        ("#passage-1", "1"),
        ("#passage-2", "2"),
        ("#passage-1", "1"),
    ]


@pytest.mark.parametrize(
    ("ids", "text", "astray"),
    [
        (["1", "2", "3"], "[7] [12] [1] [x] [sic] [2021] `[8]` [9](https://example.org)", ["[7]", "[12]"]),
        (["1", "2"], "[1, 9] and [3, see]", ["9"]),
        (["doc1", "doc2"], "[doc4] [doc1] [4] [dog4]", ["[doc4]"]),
        (["a", "b"], "[c] [x] [a]", []),
        ([], "[7]", []),
    ],
)
def test_a_citation_that_could_name_a_passage_and_names_none_is_marked(
    ids: list[str], text: str, astray: list[str]
) -> None:
    marked = re.compile(r'<span class="citation-astray">([^<]*)<span class="visually-hidden">')

    assert marked.findall(render(text, passages=ids, checked=True)) == astray
    assert marked.findall(render(text, passages=ids)) == []
