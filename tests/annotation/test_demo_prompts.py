"""The demo prompts a new installation shows first: well-formed, varied, each written for itself."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "annotation" / "demo" / "prompts.jsonl"
COUNTS = {"everyday": 40, "writing": 40, "summarising": 25, "advice": 35, "explaining": 30, "cited": 30}
FIELDS = ["key", "category", "prompt", "context", "tags", "language"]
PASSAGE_FIELDS = ["id", "title", "text", "url"]
SHARED_RUN = 8


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold())


def conversation(record: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in record["prompt"])


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PATH.read_bytes().decode("utf-8").splitlines()]


def test_there_are_200_prompts_in_the_promised_mix(records: list[dict[str, Any]]) -> None:
    assert len(records) == 200
    assert Counter(record["category"] for record in records) == COUNTS
    assert sum(len(record["prompt"]) > 1 for record in records) >= 12


def test_every_line_has_the_fields_in_order_and_nothing_empty(records: list[dict[str, Any]]) -> None:
    for record in records:
        assert list(record) == FIELDS, record
        assert record["language"] == "en", record["key"]
        assert record["tags"] and all(tag == tag.strip() != "" for tag in record["tags"]), record["key"]
        for message in record["prompt"]:
            assert list(message) == ["role", "content"], record["key"]
            assert message["content"] == message["content"].strip() != "", record["key"]


def test_the_file_is_clean_text_one_object_a_line() -> None:
    text = PATH.read_bytes().decode("utf-8")
    assert text.endswith("}\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ufeff\ufffd\u2028\u2029]", text)
    assert all(line.startswith('{"key": "') for line in text.splitlines())


def test_keys_are_numbered_within_their_category(records: list[dict[str, Any]]) -> None:
    keys = Counter(record["key"] for record in records)
    assert keys == Counter(f"{name}-{n:03d}" for name, count in COUNTS.items() for n in range(1, count + 1))
    assert all(record["key"].startswith(record["category"] + "-") for record in records)


def test_no_prompt_occurs_twice_however_it_is_spaced_or_cased(records: list[dict[str, Any]]) -> None:
    prompts = Counter(" ".join(words(conversation(record))) for record in records)
    assert [prompt for prompt, count in prompts.items() if count > 1] == []


def test_roles_alternate_and_the_user_speaks_first_and_last(records: list[dict[str, Any]]) -> None:
    for record in records:
        roles = [message["role"] for message in record["prompt"]]
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)], record["key"]
        assert roles[-1] == "user", record["key"]


def test_cited_prompts_and_only_they_bring_numbered_passages(records: list[dict[str, Any]]) -> None:
    for record in records:
        passages = record["context"]
        if record["category"] != "cited":
            assert passages == [], record["key"]
            continue
        assert 2 <= len(passages) <= 4, record["key"]
        assert [passage["id"] for passage in passages] == [str(n) for n in range(1, len(passages) + 1)]
        for passage in passages:
            assert list(passage) == PASSAGE_FIELDS, record["key"]
            assert passage["title"].strip(), record["key"]
            assert re.fullmatch(r"(https://example\.org/\S+)?", passage["url"]), record["key"]


def test_cited_prompts_ask_for_citations(records: list[dict[str, Any]]) -> None:
    asking = re.compile(r"\bcit(e|ing|ations?)\b|\[(\d|n| )\]", re.IGNORECASE)
    silent = [r["key"] for r in records if r["category"] == "cited" and not asking.search(conversation(r))]
    assert silent == []


def test_no_two_prompts_share_a_run_of_eight_words(records: list[dict[str, Any]]) -> None:
    owner: dict[tuple[str, ...], str] = {}
    shared = []
    for record in records:
        texts = [message["content"] for message in record["prompt"]]
        texts += [passage[field] for passage in record["context"] for field in ("title", "text")]
        for text in texts:
            spoken = words(text)
            for start in range(len(spoken) - SHARED_RUN + 1):
                run = tuple(spoken[start : start + SHARED_RUN])
                if owner.setdefault(run, record["key"]) != record["key"]:
                    shared.append((owner[run], record["key"], " ".join(run)))
    assert shared == []


def test_lengths_suit_a_small_model_and_a_short_reading(records: list[dict[str, Any]]) -> None:
    prompts = {record["key"]: len(conversation(record).split()) for record in records}
    passages = {
        f"{record['key']}[{passage['id']}]": len(passage["text"].split())
        for record in records
        for passage in record["context"]
    }
    assert {key: count for key, count in prompts.items() if not 8 <= count <= 250} == {}
    assert {key: count for key, count in passages.items() if not 40 <= count <= 110} == {}
