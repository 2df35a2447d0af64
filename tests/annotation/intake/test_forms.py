"""Every form is told by its rows and read as its documentation says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from annotation.intake.bringing import items_of
from annotation.intake.forms import FORMS, Sample, form_of
from annotation.intake.items import Item
from annotation.refusals import LineError, Refusal

ASKED = [{"role": "user", "content": "How long should rice cook?"}]
SHORT, LONG = "Twelve minutes.", "Twelve minutes, and ten more with the lid on."


def read(row: dict[str, Any], **mapping: Any) -> list[Item]:
    """The row's items, by the form that it is found to have."""
    form = form_of(Sample([row]))
    found = items_of(1, row, form, form.check(mapping or form.guess(Sample([row]))))
    assert not isinstance(found, LineError), found
    return found


def refused(row: dict[str, Any], form: str, **mapping: Any) -> LineError:
    found = items_of(7, row, FORMS[form], mapping)
    assert isinstance(found, LineError)
    return found


def order_of(item: Item) -> list[set[str]]:
    """The tiers as texts."""
    assert item.tiers is not None
    return [{item.candidates[number].text for number in tier} for tier in item.tiers]


def test_an_hh_transcript_is_a_conversation_and_two_replies() -> None:
    before = "\n\nHuman: Rice?\n\nAssistant: Yes?\n\nHuman: How long should\n\nit cook?\n\nAssistant:"
    row = {"chosen": f"{before} {LONG}", "rejected": f"{before} {SHORT}"}
    assert form_of(Sample([row])).name == "hh-rlhf"
    (item,) = read(row)
    assert [message["content"] for message in item.messages] == [
        "Rice?",
        "Yes?",
        "How long should\n\nit cook?",
    ]
    assert [message["role"] for message in item.messages] == ["user", "assistant", "user"]
    assert order_of(item) == [{LONG}, {SHORT}]


@pytest.mark.parametrize(
    ("chosen", "rejected", "field", "reason"),
    [
        ("\n\nHuman: A?\n\nAssistant: b", "\n\nHuman: B?\n\nAssistant: c", "rejected", "part before"),
        ("\n\nHuman: A?", "\n\nHuman: A?\n\nAssistant: c", "chosen", "must end with the assistant's"),
        ("A: what", "\n\nHuman: A?\n\nAssistant: c", "chosen", "begins with “Human:”"),
        (
            "\n\nHuman: A?\n\nAssistant: c",
            "\n\nHuman: A?\n\nAssistant: c",
            "response 2",
            "same text as response 1",
        ),
        (3, "\n\nHuman: A?\n\nAssistant: c", "chosen", "must be text"),
    ],
)
def test_what_is_no_pair_of_transcripts_is_told(chosen: Any, rejected: str, field: str, reason: str) -> None:
    error = refused({"chosen": chosen, "rejected": rejected}, "hh-rlhf")
    assert (error.line, error.field) == (7, field)
    assert reason in error.reason


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED[0]["content"], "chosen": LONG, "rejected": SHORT},
        {"prompt": ASKED, "chosen": LONG, "rejected": SHORT},
        {"prompt": ASKED, "chosen": said(LONG), "rejected": said(SHORT)},
        {"chosen": [*ASKED, *said(LONG)], "rejected": [*ASKED, *said(SHORT)]},
        # As UltraFeedback's binarized version has it: apart, and in both as well.
        {"prompt": ASKED[0]["content"], "chosen": [*ASKED, *said(LONG)], "rejected": [*ASKED, *said(SHORT)]},
    ],
)
def test_all_of_trls_forms_of_preference_say_the_same(row: dict[str, Any]) -> None:
    assert form_of(Sample([row])).name == "trl"
    (item,) = read(row)
    assert item.messages == ASKED
    assert order_of(item) == [{LONG}, {SHORT}]


def test_a_plain_implicit_prompt_ends_between_words() -> None:
    (item,) = read({"chosen": "The sky is blue.", "rejected": "The sky is brown."})
    assert item.messages[0]["content"] == "The sky is"
    assert order_of(item) == [{"blue."}, {"brown."}]


def test_ultrafeedback_is_ranked_by_the_mean_of_its_ratings() -> None:
    def completion(model: str, rated: tuple[str, str], overall: float, **more: Any) -> dict[str, Any]:
        annotations = {
            "helpfulness": [{"Rating": rated[0], "Rationale": "…"}],
            "honesty": {"Rating": rated[1], "Rationale": "…"},
        }
        return {
            "model": model,
            "response": f"{model} says",
            "annotations": annotations,
            "overall_score": overall,
        } | more

    row = {
        "source": "evol_instruct",
        "instruction": "Rice?",
        "completions": [
            completion("old", ("2", "N/A"), 10.0),  # an overall score that was wrong at first
            completion("new", ("5", "4"), 8.0),
            completion("mid", ("4", "5"), 1.0),
            completion("fine", ("1", "1"), 1.0, **{"fine-grained_score": 4.75}),
        ],
    }
    assert form_of(Sample([row])).name == "ultrafeedback"
    (item,) = read(row)
    assert order_of(item) == [{"fine says"}, {"new says", "mid says"}, {"old says"}]
    assert item.annotator == "GPT-4"
    assert [one.source for one in item.candidates] == ["old", "new", "mid", "fine"]
    assert item.ratings == {"helpfulness": [2, 5, 4, 1], "honesty": [None, 4, 5, 1]}
    assert list(item.tags) == ["evol_instruct"]


def test_an_openassistant_tree_gives_each_ranked_set_of_siblings() -> None:
    def message(number: str, role: str, text: str, *replies: Any, **more: Any) -> dict[str, Any]:
        return {
            "message_id": number,
            "role": role,
            "text": text,
            "lang": "en",
            "replies": list(replies),
            **more,
        }

    deep = message(
        "3",
        "prompter",
        "Why?",
        message("4", "assistant", "So.", rank=1),
        message("5", "assistant", "Steam.", rank=0),
    )
    row = {
        "message_tree_id": "1",
        "tree_state": "ready_for_export",
        "prompt": message(
            "1",
            "prompter",
            "Rice?",
            message("2", "assistant", LONG, deep, rank=0, model_name="chef"),
            message("6", "assistant", SHORT, rank=1),
            message("7", "assistant", "Gone.", rank=2, deleted=True),
            message("8", "assistant", "Never ranked."),
        ),
    }
    assert form_of(Sample([row])).name == "openassistant"
    first, rest, second = read(row)
    assert order_of(first) == [{LONG}, {SHORT}]
    assert [one.source for one in first.candidates] == ["chef", ""]
    assert (first.key, first.language) == ("1", "en")
    assert rest.tiers is None and [one.text for one in rest.candidates] == ["Never ranked."]
    assert order_of(second) == [{"Steam."}, {"So."}]
    assert [message["content"] for message in second.messages] == ["Rice?", LONG, "Why?"]


@pytest.mark.parametrize(("label", "best"), [(1, "A"), (0, "B"), ("1", "A")])
def test_label_1_of_shp_prefers_a(label: Any, best: str) -> None:
    row = {
        "post_id": "p1",
        "domain": "askculinary_train",
        "history": "Rice?",
        "human_ref_A": "A",
        "human_ref_B": "B",
    }
    (item,) = read(row | {"labels": label, "score_A": 5, "score_B": 9})
    assert order_of(item)[0] == {best}
    assert (item.key, list(item.tags)) == ("p1", ["askculinary_train"])
    assert "must be 1" in refused(row | {"labels": 2}, "shp").reason


def vote(winner: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": "q1",
        "model_a": "alpha",
        "model_b": "beta",
        "winner": winner,
        "judge": "arena_user_7",
        "conversation_a": [*ASKED, *said("a")],
        "conversation_b": [*ASKED, *said("b")],
        "turn": 1,
        "language": "English",
        "tstamp": 1682351591.5,
    } | more


@pytest.mark.parametrize(
    ("winner", "tiers"),
    [
        ("model_a", [[0], [1]]),
        ("model_b", [[1], [0]]),
        ("tie", [[0, 1]]),
        ("tie (bothbad)", [[0, 1]]),
        ("both_bad", [[0, 1]]),
    ],
)
def test_an_arena_vote_says_who_won_or_that_nobody_did(winner: str, tiers: list[list[int]]) -> None:
    (item,) = read(vote(winner))
    assert item.tiers == tiers
    assert [one.source for one in item.candidates] == ["alpha", "beta"]
    assert (item.annotator, item.vote, item.as_shown) == ("arena_user_7", "q1", True)
    assert item.at == datetime.fromtimestamp(1682351591.5, UTC)


def test_the_arenas_later_releases_are_read_as_well() -> None:
    parts = [{"type": "text", "text": "a", "image": None, "mimeType": None}]
    newer = vote("model_b", conversation_a=[*ASKED, {"role": "assistant", "content": parts, "num_tokens": 1}])
    del newer["judge"], newer["question_id"]
    (item,) = read(newer | {"id": "x-1"})
    assert (item.tiers, item.vote, item.annotator) == ([[1], [0]], "x-1", "")

    table = {"id": 30192, "model_a": "alpha", "model_b": "beta", "prompt": '["Rice?"]', "response_a": '["a"]'}
    table |= {"response_b": "[null]", "winner_model_a": "0", "winner_model_b": "0", "winner_tie": "1"}
    (item,) = read(table)
    assert (item.tiers, [one.text for one in item.candidates]) == ([[0, 1]], ["a", ""])


def test_a_vote_over_diverging_conversations_is_told_as_one_that_has_no_prompt() -> None:
    turns = [*ASKED, *said("a"), {"role": "user", "content": "More."}, *said("aa")]
    other = [*ASKED, *said("b"), {"role": "user", "content": "More."}, *said("bb")]
    error = refused(vote("model_a", conversation_a=turns, conversation_b=other), "lmarena")
    assert "has 2 turns" in error.reason
    assert "winner" in refused(vote("nobody"), "lmarena").field


def annotated(*results: dict[str, Any], data: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotations = [
        {
            "id": 10 + number,
            "completed_by": number,
            "created_at": "2024-03-09T22:16:08.7Z",
            "lead_time": 4.5,
            "result": [one],
        }
        for number, one in enumerate(results)
    ]
    return {"id": 1, "data": data, "annotations": annotations, "predictions": []} | more


def test_label_studios_pairs_are_rankings_of_their_annotators() -> None:
    left = {"from_name": "pw", "to_name": "t1,t2", "type": "pairwise", "value": {"selected": "left"}}
    right = left | {"value": {"selected": "right"}}
    row = annotated(left, right, data={"prompt": "Rice?", "answer1": "a", "answer2": "b"})
    row["annotations"].append({"id": 99, "was_cancelled": True, "result": []})
    first, second = read(row)
    assert (order_of(first)[0], order_of(second)[0]) == ({"a"}, {"b"})
    assert (first.annotator, second.annotator, first.vote) == ("0", "1", "10")
    assert (first.seconds, first.as_shown) == (4.5, True)


def test_label_studios_ranker_orders_the_items_of_a_list() -> None:
    items = [{"id": name, "title": name.upper(), "body": f"{name} says"} for name in ("x", "y", "z")]
    ranked = {"from_name": "rank", "to_name": "list", "type": "ranker"}
    (item,) = read(
        annotated(ranked | {"value": {"ranker": ["y", "x"]}}, data={"prompt": "Rice?", "items": items})
    )
    assert order_of(item) == [{"y says"}, {"x says"}] and len(item.candidates) == 3
    (item,) = read(
        annotated(
            ranked | {"value": {"ranker": {"_": ["x"], "best": ["z", "y"]}}},
            data={"prompt": "Rice?", "items": items},
        )
    )
    assert order_of(item) == [{"z says"}, {"y says"}]
    two = annotated(
        ranked | {"value": {"ranker": {"good": ["x"], "bad": ["y"]}}},
        data={"prompt": "Rice?", "items": items},
    )
    assert "2 buckets" in refused(two, "label-studio", prompt="prompt", responses=["items"]).reason


FIELDS = {"instruction": "Rice?", "response-1": "a", "response-2": "b", "response-3": "c"}
RANKS = [
    {"rank": 1, "value": "response-2"},
    {"rank": 2, "value": "response-1"},
    {"rank": 2, "value": "response-3"},
]


@pytest.mark.parametrize(
    ("row", "tiers"),
    [
        # to_json
        (
            {
                "id": "r1",
                "fields": FIELDS,
                "metadata": {},
                "responses": {
                    "ranking": [{"value": ["response-2", "response-1", "response-3"], "user_id": "u1"}]
                },
            },
            [{"b"}, {"a"}, {"c"}],
        ),
        # flattened, as on the Hub
        (
            {
                "id": "r1",
                **FIELDS,
                "ranking.responses": [["response-3", "response-2"], ["response-1", "response-2"]],
                "ranking.responses.users": ["u1", "u2"],
                "ranking.responses.status": ["submitted", "draft"],
            },
            [{"c"}, {"b"}],
        ),
        # version 1, as lists and as Parquet has them
        (
            {
                "external_id": "r1",
                **FIELDS,
                "ranking": [{"user_id": "u1", "value": RANKS, "status": "submitted"}],
            },
            [{"b"}, {"a", "c"}],
        ),
        (
            {
                "external_id": "r1",
                **FIELDS,
                "ranking": {
                    "user_id": ["u1"],
                    "value": [{"rank": [2, 1], "value": ["response-1", "response-2"]}],
                    "status": ["submitted"],
                },
            },
            [{"b"}, {"a"}],
        ),
    ],
)
def test_argillas_exports_of_both_versions_are_read(row: dict[str, Any], tiers: list[set[str]]) -> None:
    assert form_of(Sample([row])).name == "argilla"
    (item,) = read(row)
    assert order_of(item) == tiers
    assert (item.annotator, item.key) == ("u1", "r1")


def test_rankloops_own_records_come_back() -> None:
    row = {
        "prompt": ASKED,
        "context": [{"id": "1", "title": "", "text": "Rice cooks.", "url": ""}],
        "responses": ["a", "b", "c"],
        "tiers": [[2], [0, 1]],
        "scores": [0.1, 0.1, 1.0],
        "weight": 1.0,
        "meta": {"task": "5", "rankings": 3, "sources": ["old", "new", "new"]},
    }
    (item,) = read(row)
    assert order_of(item) == [{"c"}, {"a", "b"}]
    assert [one.source for one in item.candidates] == ["old", "new", "new"]
    assert item.context[0]["text"] == "Rice cooks."


def test_prompts_and_responses_come_alone() -> None:
    assert form_of(Sample([{"prompt": "Rice?", "tags": ["a"]}])).name == "prompts"
    assert read({"prompt": "Rice?", "tags": ["a"]})[0].tags == ["a"]
    (item,) = read({"prompt": "Rice?", "response": "Boil it.", "source": "chef"})
    assert item.tiers is None and item.candidates[0].source == "chef"


TABLE = {
    "question": "Rice?",
    "answer_left": "a",
    "answer_right": "b",
    "left_model": "old",
    "right_model": "new",
    "worker": 58,
}


def test_a_tables_columns_are_guessed_by_their_names() -> None:
    row = TABLE | {"winner": "left"}
    guessed = FORMS["columns"].guess(Sample([row]))
    assert guessed["prompt"] == "question"
    assert guessed["responses"] == ["answer_left", "answer_right"]
    assert guessed["sources"] == ["left_model", "right_model"]
    assert (guessed["winner"], guessed["annotator"]) == ("winner", "worker")
    (item,) = read(row)
    assert order_of(item) == [{"a"}, {"b"}]
    assert (item.annotator, item.as_shown) == ("58", True)


@pytest.mark.parametrize(
    ("winner", "best"),
    [("left", "a"), ("B", "b"), ("1", "a"), (2, "b"), ("new", "b"), ("answer_left", "a"), ("model_b", "b")],
)
def test_a_winner_may_be_called_by_side_number_column_or_source(winner: Any, best: str) -> None:
    mapping = {"prompt": "question", "responses": ["answer_left", "answer_right"], "winner": "winner"}
    mapping["sources"] = ["left_model", "right_model"]
    (item,) = read(TABLE | {"winner": winner}, **mapping)
    assert order_of(item)[0] == {best}


def test_ranks_and_scores_of_a_table_make_tiers() -> None:
    row = {
        "q": "Rice?",
        "x": "a",
        "y": "b",
        "z": "c",
        "rx": 2,
        "ry": "1",
        "rz": 2,
        "sx": 0.5,
        "sy": None,
        "sz": 3,
    }
    common = {"prompt": "q", "responses": ["x", "y", "z"]}
    (item,) = read(row, **common, ranks=["rx", "ry", "rz"])
    assert order_of(item) == [{"b"}, {"a", "c"}]
    (item,) = read(row, **common, scores=["sx", "sy", "sz"])
    assert order_of(item) == [{"c"}, {"a"}]
    assert (
        "must be a number"
        in refused(row | {"rx": "best"}, "columns", **common, ranks=["rx", "ry", "rz"]).reason
    )


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"responses": ["a"]}, "Say which of the file's fields is: Prompt"),
        ({"prompt": "q", "responses": "a", "colour": "c"}, "no field 'colour'"),
        ({"prompt": ["q", "r"], "responses": ["a"]}, "the name of one field"),
        ({"prompt": "q", "responses": [1]}, "names of fields in a list"),
        ([], "must be an object"),
    ],
)
def test_a_mapping_that_cannot_be_read_by_is_refused(mapping: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        FORMS["columns"].check(mapping)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "row",
    [
        {},
        {"prompt": None, "chosen": None, "rejected": None},
        {
            "prompt": 3,
            "responses": 4,
            "tiers": 5,
            "completions": 6,
            "instruction": [],
            "data": [],
            "fields": [],
        },
        {"prompt": {"replies": 3, "role": "prompter", "text": "x"}, "message_tree_id": 1, "annotations": {}},
        {"conversation_a": [3], "conversation_b": {}, "model_a": [], "completions": [3], "instruction": "x"},
        {
            "prompt": "x",
            "response": "\ud800",
            "chosen": "\x00",
            "rejected": "y",
            "responses": [1, 2],
            "tiers": [[0]],
        },
    ],
)
def test_no_row_breaks_a_form(form: str, row: dict[str, Any]) -> None:
    mapping = {"prompt": "prompt", "responses": ["chosen", "rejected"], "question": "q"}
    known = {field.name for field in FORMS[form].fields}
    found = items_of(1, row, FORMS[form], {name: value for name, value in mapping.items() if name in known})
    assert isinstance(found, LineError) or found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "rows", [[], [{}], [{"data": 3, "fields": 4, "responses": "x", "a\x00b": 1, "\ud800": 2}]]
)
def test_no_file_breaks_what_a_form_tells_of_it(form: str, rows: list[dict[str, Any]]) -> None:
    sample = Sample(rows)
    FORMS[form].matches(sample)
    names = [*FORMS[form].choices(sample), *map(str, FORMS[form].guess(sample).values())]
    assert not any("\x00" in name or "\ud800" in name for name in names)
