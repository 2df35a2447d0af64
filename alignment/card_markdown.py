"""What a dataset's card finds besides its counts, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignment.dataset_warnings import warnings_of


def findings(card: Mapping[str, Any]) -> str:
    """Return the sections on what the dataset leaves out, languages, leanings, duplicates, personal data and
    warnings; each only where there is something to say."""
    sections = (
        ("Before training", "\n".join(f"- {plain_sentence(one.sentence)}" for one in warnings_of(card))),
        ("Left out", _left_out(card)),
        ("Annotators", _annotators(card)),
        ("Languages", _languages(card)),
        ("Leanings", _leanings(card)),
        ("Duplicates", _duplicates(card)),
        ("No consensus", _no_consensus(card)),
        ("Personal data, by its form", _personal_data(card)),
    )
    return "".join(f"## {title}\n{text}\n\n" for title, text in sections if text)


def table_rows(rows: Any) -> str:
    """Return rows of cells as the lines of a table."""
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def plain(text: str) -> str:
    """A name that people chose, without what would break out of a table's cell or the front matter."""
    return " ".join("".join(c if c.isalnum() or c in " -_.,'" else " " for c in text).split())


def plain_sentence(text: str) -> str:
    """A sentence that may hold such a name, on one line and without markup."""
    return " ".join("".join(" " if c in "<>[]|*`\\" else c for c in text).split())


def _table(head: str, rows: Any) -> str:
    columns = head.count("|") - 1
    return f"{head}\n|{' --- |' * columns}\n{table_rows(rows)}"


def _left_out(card: Mapping[str, Any]) -> str:
    rows = [
        (step["label"], split, amount["tasks"], amount["rankings"], amount["responses"], amount["pairs"])
        for step in card["left_out"]
        for split, amount in step["splits"].items()
    ]
    return _table("| filter | split | tasks | rankings | responses | preferences |", rows) if rows else ""


def _annotators(card: Mapping[str, Any]) -> str:
    reliability = card["annotators"]["reliability"]
    if not reliability:
        return ""
    middle = reliability[len(reliability) // 2]
    return (
        f"Reliability, 1 being the average: from {reliability[-1]:.2f} to {reliability[0]:.2f}, half at least "
        f"{middle:.2f}. Rankings of one annotator: {card['annotators']['rankings']['median']:g} in the middle, at most "
        f"{card['annotators']['rankings']['most']}."
    )


def _languages(card: Mapping[str, Any]) -> str:
    rows = [(plain(name) or "not given", count) for name, count in card["languages"].items()]
    return _table("| language | prompts |", rows)


def _leanings(card: Mapping[str, Any]) -> str:
    leanings = card["leanings"]
    measured = [
        ("shown first", *_interval(leanings["first_shown"], "win_rate"), leanings["first_shown"]["pairs"]),
        ("longer", *_interval(leanings["longer"], "win_rate"), leanings["longer"]["pairs"]),
        ("formatted", *_interval(leanings["formatted"], "win_rate"), leanings["formatted"]["pairs"]),
        ("longer, by consensus", *_interval(card["told_by_length"]), card["told_by_length"]["of"]),
        ("of the better source", *_interval(card["told_by_source"]), card["told_by_source"]["of"]),
    ]
    return _table("| preferred response | share | 95 % interval | pairs |", measured)


def _interval(measured: Mapping[str, Any], name: str = "") -> tuple[str, str]:
    value, low, high = (
        measured[name or "value"],
        measured[f"{name}_low" if name else "low"],
        measured[f"{name}_high" if name else "high"],
    )
    share = "–" if value is None else f"{value:.1%}"
    return share, "–" if low is None else f"{low:.1%} to {high:.1%}"


def _duplicates(card: Mapping[str, Any]) -> str:
    found = card["duplicates"]
    return (
        f"Prompts that nearly repeat an earlier one: {found['near_prompts']}, of which {found['across_splits']} one of "
        f"the other split. Further tasks of a prompt: {found['tasks_of_one_prompt']}. Responses that several prompts "
        f"have, word for word: {found['responses_of_several_prompts']}."
    )


def _no_consensus(card: Mapping[str, Any]) -> str:
    found = card["no_consensus"]
    if not found["tasks"]:
        return ""
    examples = ", ".join(found["examples"])
    return (
        f"All responses of {found['tasks']} of {card['tasks']} tasks are tied, the first of them: {examples}."
    )


def _personal_data(card: Mapping[str, Any]) -> str:
    rows = list(_personal_rows(card))
    return _table("| kind | found | texts | first places (task: text) |", rows) if rows else ""


def _personal_rows(card: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str]]:
    for kind, each in card["personal_data"].items():
        places = ", ".join(f"{place['task']}: {place['text']}" for place in each["places"])
        yield kind, each["found"], each["texts"], places
