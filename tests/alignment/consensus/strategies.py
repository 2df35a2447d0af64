"""What hypothesis draws rankings from."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def tiers_of_some(draw: st.DrawFn, items: int) -> list[list[int]]:
    """A ranking with ties of two or more of the items."""
    ranked = draw(st.lists(st.integers(0, items - 1), unique=True, min_size=2, max_size=items))
    cuts = draw(st.lists(st.booleans(), min_size=len(ranked), max_size=len(ranked)))
    tiers: list[list[int]] = []
    for item, cut in zip(ranked, cuts, strict=True):
        if cut or not tiers:
            tiers.append([item])
        else:
            tiers[-1].append(item)
    return tiers
