"""Personal data by its form: found, not taken for what it is not, and never repeated."""

from __future__ import annotations

import pytest

from alignment.personal_data import kinds_in, personal_data
from training.engine.records import Ranking


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to anna.meier+lists@mail.example.org, or to bo@x.io.", {"e-mail address": 2}),
        ("Call +49 (0)30 1234 5678 or 030/123456789.", {"telephone number": 2}),
        ("Call (020) 7946 0958 today.", {"telephone number": 1}),
        ("My card is 4111 1111 1111 1111, and 5500-0000-0000-0004.", {"payment card": 2}),
        ("The IBAN DE89 3704 0044 0532 0130 00 is mine; so is GB82WEST12345698765432.", {"IBAN": 2}),
        ("It comes from 81.2.69.160, and 2001:4860:4860::8888.", {"IP address": 1, "IPv6 address": 1}),
    ],
)
def test_what_has_the_form_is_found(text: str, kinds: dict[str, int]) -> None:
    assert kinds_in(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        "The card 4111 1111 1111 1112 has a wrong check digit, and 0000 0000 0000 0000 is none.",
        "The IBAN DE88 3704 1144 2532 1130 11 has wrong check digits.",
        "Version 10.2.3.4 of 2026-03-31 at 10:20:30 runs on 127.0.0.1 and 192.168.0.1, not 999.1.1.1.",
        "It took 3.14159265358979 seconds, 1,000,000 times, from 1914 to 1918.",
        "std::vector<int> a[10]; @decorator; x = y@z",
        "",
    ],
)
def test_what_only_resembles_it_is_not(text: str) -> None:
    assert kinds_in(text) == {}


def test_it_says_how_many_and_where_and_never_what() -> None:
    record = Ranking(
        prompt=[{"role": "user", "content": "I am jo@example.org, who are you?"}],
        responses=["I do not know.", "Hello jo@example.org and al@example.org!"],
        tiers=[[0], [1]],
        scores=[1.0, 0.0],
        meta={"task": "12", "sources": ["a", "b"]},
        demonstrations=["Ask 81.2.69.160."],
    )
    found = personal_data([record, record])
    assert found["e-mail address"] == {
        "found": 6,
        "texts": 4,
        "places": [{"task": "12", "text": "prompt"}, {"task": "12", "text": "response 1"}] * 2,
    }
    assert found["IP address"]["places"][0] == {"task": "12", "text": "written response 1"}
    assert "example.org" not in str(found) and "81.2" not in str(found)


def test_a_long_text_is_searched_in_no_time() -> None:
    for hostile in ("1 " * 50_000, "a@" * 50_000, "0 0-" * 25_000, ":" * 100_000, "a." * 50_000 + "@"):
        kinds_in(hostile)
