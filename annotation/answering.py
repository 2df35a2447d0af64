"""What an annotator may answer: each part of an answer is checked before any of it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from annotation.lettering import listed, named
from annotation.models import (
    Aspect,
    AspectRating,
    Assignment,
    Demonstration,
    Flag,
    Project,
    Ranking,
    TaskResponse,
)
from annotation.refusals import Refusal, require_storable

LONGEST_RATIONALE = 20_000
LONGEST_FLAG_NOTE = 1_000
LONGEST_DEMONSTRATION = 200_000
MOST_SECONDS = 10_000_000
STRENGTHS = {1: "negligibly better", 2: "slightly better", 3: "clearly better", 4: "much better"}
"""How much better a tier is than the next: the four steps that Llama 2's annotators were asked for (Touvron et al.
2023, section 3.2.1: "significantly better, better, slightly better, or negligibly better/ unsure")."""

Tiers = Sequence[Sequence[int]]
Strengths = Sequence[int | None]
Ratings = Mapping[str, Mapping[Any, int]]


class FlagGiven(TypedDict):
    """A mark on a response: its ``number``, one of ``Flag.Kind``, and a note, which the kind *other* needs."""

    number: int
    kind: str
    note: NotRequired[str]


class DemonstrationGiven(TypedDict):
    """A better response: the ``text``, and the ``number`` of the response that was edited; null: written anew."""

    number: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an annotator says of a task, as it came; see ``submitting.submit``."""

    tiers: Tiers
    strengths: Strengths | None = None
    ratings: Ratings | None = None
    flags: Sequence[FlagGiven] | None = None
    demonstrations: Sequence[DemonstrationGiven] | None = None
    rationale: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The same, fit to be kept. The rows await their ranking."""

    tiers: list[list[int]]
    strengths: list[int | None] | None
    rationale: str
    seconds: float | None
    ratings: list[AspectRating]
    flags: list[Flag]
    demonstrations: list[Demonstration]

    def keep(self, **of_place: Any) -> Ranking:
        """Store all of it as one revision; ``of_place`` are the ranking's other fields."""
        ranking = Ranking.objects.create(
            tiers=self.tiers,
            strengths=self.strengths,
            rationale=self.rationale,
            seconds=self.seconds,
            **of_place,
        )
        for rows in (self.ratings, self.flags, self.demonstrations):
            for row in rows:
                row.ranking = ranking
        if self.ratings:
            AspectRating.objects.bulk_create(self.ratings)
        if self.flags:
            Flag.objects.bulk_create(self.flags)
        if self.demonstrations:
            Demonstration.objects.bulk_create(self.demonstrations)
        return ranking


def check_answer(given: Given, *, place: Assignment, project: Project) -> Checked:
    """Return ``given`` as an answer of the annotator who holds ``place``, under the project's rules.

    Raises:
        Refusal: a field is wrong; the sentence says where and what would be right, ``field`` names it.
    """
    numbers = set(place.shown_order or ())
    tiers = check_tiers(given.tiers, numbers, project)
    return Checked(
        tiers=tiers,
        strengths=_check_strengths(given.strengths, len(tiers), project),
        rationale=_check_rationale(given.rationale),
        seconds=_check_seconds(given.seconds),
        ratings=_check_ratings({} if given.ratings is None else given.ratings, numbers, project),
        flags=_check_flags(given.flags, numbers),
        demonstrations=_check_demonstrations(given.demonstrations, numbers, place),
    )


def check_tiers(tiers: Any, numbers: set[int], project: Project) -> list[list[int]]:
    """Return ``tiers`` as a ranking of the responses ``numbers`` under the project's rules.

    Raises:
        Refusal: it is none; the sentence says which response or rule.
    """

    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="tiers")

    if not isinstance(tiers, Sequence) or isinstance(tiers, str):
        raise wrong("Tiers must be a list of lists of response numbers, the best tier first.")
    ranked: list[int] = []
    for position, tier in enumerate(tiers, start=1):
        if not isinstance(tier, Sequence) or isinstance(tier, str):
            raise wrong(f"Tier {position} must be a list of response numbers.")
        if not tier:
            raise wrong(f"Tier {position} is empty; leave it out.")
        for number in tier:
            if type(number) is not int or number not in numbers:
                raise wrong(f"Tier {position} holds {number!r:.40}; {_has(numbers)}.")
            if number in ranked:
                raise wrong(f"Response {named(number)} is ranked twice.")
            ranked.append(number)
        if len(tier) > 1 and not project.allow_ties:
            raise wrong(f"Responses {listed(tier)} are tied; this project asks for an order without ties.")
    missing = sorted(numbers - set(ranked))
    if missing and not project.allow_partial:
        raise wrong(
            f"{'Responses' if len(missing) > 1 else 'Response'} {listed(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not ranked; this project asks for all to be ranked."
        )
    if len(ranked) < 2:
        raise wrong("A ranking compares at least two responses. Skip the task if they cannot be compared.")
    return [list(tier) for tier in tiers]


def _check_strengths(strengths: Any, tiers: int, project: Project) -> list[int | None] | None:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="strengths")

    if strengths is None:
        return None
    if not project.ask_strength:
        raise wrong(
            "This project does not ask how much better one tier is than the next. Leave `strengths` out; on the page, "
            "reload it."
        )
    if not isinstance(strengths, Sequence) or isinstance(strengths, str):
        raise wrong(
            "Strengths must be a list: of each tier but the last, how much better it is than the next."
        )
    if len(strengths) != tiers - 1:
        raise wrong(
            f"Strengths must have one entry fewer than there are tiers: {tiers - 1}, not {len(strengths)}. Null where "
            "it was not said."
        )
    for position, strength in enumerate(strengths, start=1):
        if strength is not None and (type(strength) is not int or strength not in STRENGTHS):
            steps = ", ".join(f"{step} ({name})" for step, name in STRENGTHS.items())
            raise wrong(
                f"Strength {position}, of tier {position} over tier {position + 1}, must be one of {steps} or null, "
                f"not {strength!r:.40}."
            )
    return list(strengths) if any(strength is not None for strength in strengths) else None


def _check_rationale(rationale: str) -> str:
    if not isinstance(rationale, str):
        raise Refusal("invalid", f"The rationale must be text, not {rationale!r:.40}.", field="rationale")
    require_storable(rationale, "The rationale", field="rationale")
    if len(rationale) > LONGEST_RATIONALE:
        raise Refusal(
            "invalid",
            f"The rationale has {len(rationale)} characters; {LONGEST_RATIONALE} are allowed.",
            field="rationale",
        )
    return rationale


def _check_seconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    # The comparison comes before float(), which not every whole number fits; NaN fails it.
    if type(seconds) not in (int, float) or not 0 <= seconds <= MOST_SECONDS:
        raise Refusal(
            "invalid",
            f"Seconds must be a number from 0 to {MOST_SECONDS:,}, not {seconds!r:.40}.",
            field="seconds",
        )
    return float(seconds)


def _check_ratings(ratings: Ratings, numbers: set[int], project: Project) -> list[AspectRating]:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="ratings")

    if not isinstance(ratings, Mapping):
        raise wrong("Ratings must be an object: by aspect, then by response number.")
    if not ratings:
        return []
    aspects: dict[str, Aspect] = {aspect.name: aspect for aspect in project.aspects.all()}
    by_text = {str(number): number for number in numbers}  # JSON's keys are text
    rows = []
    for name, by_response in ratings.items():
        aspect = aspects.get(name)
        if aspect is None:
            raise wrong(f"The project has no aspect {name!r:.60}; it has {', '.join(aspects) or 'none'}.")
        if not isinstance(by_response, Mapping):
            raise wrong(f"The ratings of {name} must be an object: by response number, a rating.")
        rated: set[int] = set()
        for number, rating in by_response.items():
            position = by_text.get(str(number))
            if position is None:
                raise wrong(
                    f"The ratings of {name} name the response {number!r:.40}, which the task does not have."
                )
            if type(rating) is not int or not 1 <= rating <= aspect.steps:
                raise wrong(
                    f"{name} of response {named(position)} must be a whole number from 1 to {aspect.steps}, not "
                    f"{rating!r:.40}."
                )
            if position in rated:
                raise wrong(f"{name} rates response {named(position)} twice.")
            rated.add(position)
            rows.append(AspectRating(aspect=aspect, position=position, rating=rating))
    return rows


def _check_flags(flags: Any, numbers: set[int]) -> list[Flag]:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="flags")

    rows: list[Flag] = []
    seen: set[tuple[int, str]] = set()
    for place, flag in enumerate(_list_of_objects(flags, "flags", {"number", "kind", "note"}), start=1):
        number, kind, note = flag.get("number"), flag.get("kind"), flag.get("note", "")
        if type(number) is not int or number not in numbers:
            raise wrong(f"Flag {place} is of response {number!r:.40}; {_has(numbers)}.")
        if kind not in Flag.Kind.values:
            raise wrong(
                f"Flag {place}, of response {named(number)}: the kind must be one of "
                f"{', '.join(Flag.Kind.values)}, not {kind!r:.40}."
            )
        if not isinstance(note, str):
            raise wrong(
                f"Flag {place}, of response {named(number)}: the note must be text, not {note!r:.40}."
            )
        require_storable(note, f"The note of flag {place}", field="flags")
        note = note.strip()
        if len(note) > LONGEST_FLAG_NOTE:
            raise wrong(
                f"The note on response {named(number)} has {len(note):,} characters; {LONGEST_FLAG_NOTE:,} are allowed."
            )
        if kind == Flag.Kind.OTHER and not note:
            raise wrong(
                f"Response {named(number)} is flagged as other without a note; say in it what is wrong."
            )
        if (number, kind) in seen:
            raise wrong(f"Response {named(number)} is flagged as {kind} twice.")
        seen.add((number, kind))
        rows.append(Flag(position=number, kind=kind, note=note))
    return rows


def _check_demonstrations(demonstrations: Any, numbers: set[int], place: Assignment) -> list[Demonstration]:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field="demonstrations")

    given = _list_of_objects(demonstrations, "demonstrations", {"number", "text"})
    # The texts are read only where there is something to hold against them.
    shown = TaskResponse.objects.filter(task=place.task_id)
    texts = dict(shown.values_list("position", "response__text")) if given else {}
    rows: dict[int | None, Demonstration] = {}
    for count, demonstration in enumerate(given, start=1):
        number, text = demonstration.get("number"), demonstration.get("text")
        if number is not None and (type(number) is not int or number not in numbers):
            raise wrong(
                f"Demonstration {count} edits response {number!r:.40}; {_has(numbers)}. Null: it was written anew."
            )
        what = "The response written anew" if number is None else f"The edited response {named(number)}"
        if not isinstance(text, str):
            raise wrong(f"{what} must be text, not {text!r:.40}.")
        require_storable(text, what, field="demonstrations")
        if not text.strip():
            raise wrong(f"{what} is empty. Write it, or leave it out.")
        if len(text) > LONGEST_DEMONSTRATION:
            raise wrong(f"{what} has {len(text):,} characters; {LONGEST_DEMONSTRATION:,} are allowed.")
        if number is not None and _same_text(text, texts[number]):
            raise wrong(f"{what} is the same as before. Change it, or leave it out.")
        if number in rows:
            raise wrong(f"{what} is given twice; a response has one edited text.")
        rows[number] = Demonstration(position=number, text=text)
    return list(rows.values())


def _same_text(one: str, other: str) -> bool:
    """Whether texts differ in nothing but ends of lines, which browsers rewrite, and space around them."""
    return one.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()


def _list_of_objects(given: Any, field: str, known: set[str]) -> list[Mapping[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise Refusal("invalid", f"{field.capitalize()} must be a list of objects.", field=field)
    for place, each in enumerate(given, start=1):
        if not isinstance(each, Mapping) or not each.keys() <= known:
            raise Refusal(
                "invalid",
                f"Entry {place} of the {field} must be an object of {', '.join(sorted(known))}, not {each!r:.60}.",
                field=field,
            )
    return list(given)


def _has(numbers: set[int]) -> str:
    return f"the task's response numbers are {', '.join(map(str, sorted(numbers)))}"
