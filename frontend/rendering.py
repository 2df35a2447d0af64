"""Text of models, imports and people, as safe HTML.

All of it is hostile. Raw HTML in it is never parsed as HTML; what the Markdown parser makes of the rest goes through
a sanitizer that keeps a short list of elements; and the pages' content security policy stands behind both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import unescape
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments import highlight as pygments_highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from frontend.keeping import kept
from frontend.maths import use_maths

FORMATTER = HtmlFormatter(nowrap=True)
HIGHLIGHTED_CHARACTERS = 20_000  # lexers are regular expressions; longer code is shown without colours
CITATION = re.compile(r"\[([^\[\]\n]{1,80})\]")
BETWEEN_CITED = re.compile(r"(\s*[,;]\s*)")
DIGITS = re.compile(r"(\d+)")
ASTRAY = "citation-astray"
TAGS = {
    *(
        "p",
        "br",
        "hr",
        "em",
        "strong",
        "s",
        "a",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "span",
        "sup",
        "sub",
    ),
    *("h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
OWN_CLASSES = {"image-left-out", ASTRAY, "visually-hidden", "math", "math math-display"}
CLASS_OF_TOKEN = re.compile(r"[a-z][a-z0-9]{0,2}")  # Pygments' short names: k, nf, s1, …
LINK = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
LINK_TO_PASSAGE = re.compile(r"#passage-\d{1,4}")


@kept
def render(text: str, *, passages: Sequence[str] = (), checked: bool = False) -> SafeString:
    """``text`` (Markdown, with TeX) as HTML that is safe to put into a page.

    ``passages`` are the ids of the context passages beside it, in the page's order: ``[id]`` becomes a link to
    ``#passage-N``, N counted from 1, and so does each id of ``[id, id]``. If ``checked``, what looks like an id of
    theirs and is none is marked as naming no passage. Headings start at the fourth level, below a page's own; images
    are named, not fetched; formulas are left to the page's script, see ``maths``.
    """
    numbers = {str(name): number for number, name in reversed(list(enumerate(passages, start=1)))}
    citing = {"passages": numbers, "like": _like(numbers) if checked else None}
    return mark_safe(_sanitized(_parser().render(text, citing)))  # noqa: S308 (sanitized)


@kept
def beginning(text: str, length: int) -> str:
    """Return the first ``length`` characters of ``text`` (Markdown) as it is read: on one line, without its signs."""
    # Signs and spaces take room that is not shown; a multiple of the length is enough of a text of any size. A shorter
    # one is shown whole beside it, and so is rendered anyway.
    part = text if len(text) <= 5_000 else text[: 4 * length]
    words = unescape(nh3.clean(render(part, passages=[], checked=True), tags=set())).split()
    return Truncator(" ".join(words)).chars(length)


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlight, "breaks": True})
    parser.enable(["table", "strikethrough"])
    use_maths(parser)
    parser.core.ruler.push("headings_below_the_page", _lower_headings)
    parser.core.ruler.push("citations", _link_citations)
    parser.add_render_rule("image", _name_image)
    parser.add_render_rule("table_open", _reachable_table)
    return parser


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 3, 6)}"


def _like(names: Iterable[str]) -> re.Pattern[str] | None:
    """What reads as an id of a passage that could be there: one of the ``names`` with other digits.

    Ids without digits have no such form: beside passages [a] and [b], an [x] may be a ticked box. A number two digits
    longer than any id is a year or the like.
    """
    forms = {
        "".join(
            rf"\d{{1,{len(piece) + 1}}}" if place % 2 else re.escape(piece)
            for place, piece in enumerate(DIGITS.split(name))
        )
        for name in names
        if DIGITS.search(name)
    }
    return re.compile("|".join(sorted(forms))) if forms else None


def _link_citations(state: StateCore) -> None:
    if not state.env.get("passages"):
        return
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = [
                piece
                for child in block.children
                for piece in (_cited(child, **state.env) if child.type == "text" else [child])
            ]


def _cited(text: Token, *, passages: dict[str, int], like: re.Pattern[str] | None) -> list[Token]:
    """The text token, cut where it cites passages."""
    pieces: list[Token] = []
    end = 0
    for match in CITATION.finditer(text.content):
        names = [match[1]] if match[1] in passages else BETWEEN_CITED.split(match[1])
        if not all(name in passages or (like and like.fullmatch(name)) for name in names[::2]):
            continue
        pieces.append(_text(text.content[end : match.start()]))
        if len(names) == 1:
            pieces += _citation(match[1], match[0], passages)
        else:
            pieces.append(_text("["))
            for place, name in enumerate(names):
                pieces += [_text(name)] if place % 2 else _citation(name, name, passages)
            pieces.append(_text("]"))
        end = match.end()
    return [*pieces, _text(text.content[end:])]


def _citation(name: str, shown: str, passages: dict[str, int]) -> list[Token]:
    number = passages.get(name)
    if number is None:
        return [
            Token("citation_astray_open", "span", 1, attrs={"class": ASTRAY}),
            _text(shown),
            Token("citation_astray_open", "span", 1, attrs={"class": "visually-hidden"}),
            _text(" (no passage has this name)"),
            Token("citation_astray_close", "span", -1),
            Token("citation_astray_close", "span", -1),
        ]
    return [
        Token("link_open", "a", 1, attrs={"href": f"#passage-{number}", "class": "citation"}),
        _text(shown),
        Token("link_close", "a", -1),
    ]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _name_image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    name = renderer.renderInlineAsText(tokens[index].children or [], options, env) or "no description"
    return f'<span class="image-left-out">[image: {escape(name)}]</span>'


def _reachable_table(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    # A wide table scrolls sideways; who has only a keyboard must get there.
    return '<table tabindex="0">'


def _highlight(code: str, language: str, _: str) -> str:
    if not language or len(code) > HIGHLIGHTED_CHARACTERS:
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return str(pygments_highlight(code, lexer, FORMATTER))


def _sanitized(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes={"a": {"href", "class"}, "span": {"class"}, "ol": {"start"}, "table": {"tabindex"}},
        attribute_filter=_kept_attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _kept_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if LINK.fullmatch(value) or LINK_TO_PASSAGE.fullmatch(value) else None
    if name == "class":
        allowed = {"citation"} if tag == "a" else OWN_CLASSES
        return value if value in allowed or (tag == "span" and CLASS_OF_TOKEN.fullmatch(value)) else None
    return value if name in ("start", "rel", "tabindex") else None
