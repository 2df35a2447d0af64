"""TeX in Markdown: ``$…$``, ``$$…$$``, ``\\(…\\)`` and ``\\[…\\]``, kept from what Markdown makes of its signs.

A formula comes out as ``<span class="math">`` with its TeX as text, for the page's script to draw. A dollar is a price
more often than a formula, so a single one opens a formula only where GitHub and Pandoc would take it for one, and never
around plain words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.utils.html import escape
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

LONGEST = 2_000  # characters of one formula; also bounds how far is looked for its end
CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
# "$5 for lunch, 6$": two words with a space between them that no TeX command or brace explains.
COMMANDS_AND_TEXTS = re.compile(r"\\[a-zA-Z]+(?:\s*\{[^{}]*\})?|\\.|[{}]")
PLAIN_WORDS = re.compile(r"(?:^|\s)[^\W\d_]{2,}[,.;:]?\s+[^\W\d_]{2,}|^\d[\d.,]*\s+[^\W\d_]{2,}")
SIGNS = re.compile(r"[\\^_=+*/<>|]")  # brackets may be escaped for their own sake: "\[1\]", "\[sic\]"


def use_maths(parser: MarkdownIt) -> None:
    """Teach ``parser`` formulas: tokens ``math`` and ``math_block`` with the TeX as their content."""
    parser.inline.ruler.before("escape", "math", _inline)
    parser.block.ruler.before("fence", "math_block", _block, {"alt": ["paragraph", "blockquote", "list"]})
    parser.add_render_rule("math", _render)
    parser.add_render_rule("math_block", _render)


def _inline(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos : state.pos + 2]
    if opening in CLOSING:
        found = _enclosed(state.src, state.pos + 2, state.posMax, CLOSING[opening])
        opened = 2
    elif opening[:1] == "$":
        found = _between_dollars(state.src, state.pos, state.posMax)
        opened = 1
    else:
        return False
    if found is None:
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = found
        token.meta = {"display": opening in ("$$", "\\[")}
    state.pos += len(found) + 2 * opened
    return True


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    closing = CLOSING.get(first[:2])
    if closing is None or closing == "\\)":
        return False
    lines = [first[2:]]
    length = 0
    last = start
    while not lines[-1].rstrip().endswith(closing):
        last += 1
        # TeX's own formulas end at an empty line, and a list's or a quotation's at their edge.
        if last >= end or length > LONGEST or state.isEmpty(last) or state.sCount[last] < state.blkIndent:
            return False
        lines.append(state.src[state.bMarks[last] + state.tShift[last] : state.eMarks[last]])
        length += len(lines[-1])
    tex = "\n".join(lines).rstrip()[: -len(closing)].strip()
    # "$$a$$ and $$b$$" on one line is a paragraph with two formulas.
    if not tex or closing in tex or len(tex) > LONGEST or (closing == "\\]" and not SIGNS.search(tex)):
        return False
    if silent:
        return True
    state.line = last + 1
    token = state.push("math_block", "", 0)
    token.content = tex
    token.map = [start, state.line]
    token.meta = {"display": True}
    return True


def _enclosed(text: str, start: int, end: int, closing: str) -> str | None:
    """What stands before the next ``closing``; None if nothing does."""
    at = text.find(closing, start, min(end, start + LONGEST))
    tex = text[start : max(at, start)]
    if (
        not tex.strip()
        or (closing == "\\]" and not SIGNS.search(tex))
        or (closing == "\\)" and _is_plain(tex))
    ):
        return None
    return tex


def _between_dollars(text: str, at: int, end: int) -> str | None:
    """The formula that the dollar at ``at`` opens, or None where it is only a dollar."""
    before = text[at - 1 : at] if at else ""
    if before.isalnum() or before in ("$", "\\") or text[at + 1 : at + 2].strip() in ("", "$"):
        return None
    closing = at + 1
    while True:
        closing = text.find("$", closing, min(end, at + LONGEST))
        if closing < 0:
            return None
        if text[closing - 1] != "\\":
            break
        closing += 1
    tex, after = text[at + 1 : closing], text[closing + 1 : closing + 2]
    if tex[-1].isspace() or after.isalnum() or after == "$" or "`" in tex:
        return None
    return None if _is_plain(tex) else tex


def _is_plain(tex: str) -> bool:
    return bool(PLAIN_WORDS.search(COMMANDS_AND_TEXTS.sub("+", tex)))


def _render(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    classes = "math math-display" if token.meta["display"] else "math"
    formula = f'<span class="{classes}">{escape(token.content)}</span>'
    return f"<p>{formula}</p>\n" if token.type == "math_block" else formula
