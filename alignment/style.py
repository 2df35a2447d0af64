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


FEATURES = ("words", *PARTS.values())


def counts_of(text: str) -> dict[str, int]:
    """Return how many words, headings, list items, bold passages and code blocks a text has, as Markdown."""
    counts: Counter[str] = Counter()
    for token in _markdown.parse(text):
        for each in (token, *(token.children or ())):
            if each.type in PARTS:
                counts[PARTS[each.type]] += 1
    counts["words"] = len(text.split())
    return {name: counts[name] for name in FEATURES}


def style_of(text: str) -> dict[str, float]:
    """Return features of a response: the logarithms of one more than its `counts_of`. With logarithms it is the ratio
    of two responses that counts, not the difference.

    They are those that the LMSYS arena controls for (Li et al. 2024, "Does style matter?"), with code blocks.
    """
    return {name: math.log1p(count) for name, count in counts_of(text).items()}
