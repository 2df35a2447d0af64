"""What of a response is style: how long it is and how it is set, whatever it says."""

from __future__ import annotations

import math
from collections import Counter

from markdown_it import MarkdownIt

_markdown = MarkdownIt("commonmark")
PARTS = {
    "heading_open": "headings",
    "list_item_open": "list items",
    "strong_open": "bold",
    "fence": "code blocks",
}


def style_of(text: str) -> dict[str, float]:
    """Return features of a response: the logarithms of one more than its words, headings, list items, bold passages and
    code blocks, as Markdown. With logarithms it is the ratio of two responses that counts, not the difference.

    They are those that the LMSYS arena controls for (Li et al. 2024, "Does style matter?"), with code blocks.
    """
    counts: Counter[str] = Counter()
    for token in _markdown.parse(text):
        for each in (token, *(token.children or ())):
            if each.type in PARTS:
                counts[PARTS[each.type]] += 1
    counts["words"] = len(text.split())
    return {name: math.log1p(counts[name]) for name in ("words", *PARTS.values())}
