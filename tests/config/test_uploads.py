"""An upload that is too large is refused with a sentence, before it is read."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from config import environment


@pytest.fixture(autouse=True)
def one_mib(settings: Any) -> None:
    settings.RANKLOOP_UPLOAD_MIB = 1


def file_of(size: int) -> dict[str, SimpleUploadedFile]:
    return {"file": SimpleUploadedFile("prompts.jsonl", b"x" * size)}


def test_pages_tell_it_to_people(client: Client) -> None:
    answer = client.post("/projects/any/prompts/upload/", file_of(2 * 2**20))
    assert answer.status_code == 413
    assert "at most 1 MiB" in answer.content.decode()
    assert "Content-Security-Policy" in answer.headers


def test_the_api_tells_it_to_programs(client: Client) -> None:
    answer = client.post("/api/v1/projects/any/prompts/import", file_of(2 * 2**20))
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/problem+json")
    assert "at most 1 MiB" in answer.json()["detail"]


@pytest.mark.django_db
def test_a_file_of_the_largest_size_is_let_through(client: Client) -> None:
    assert client.post("/api/v1/projects/any/prompts/import", file_of(2**20)).status_code == 401


def test_a_limit_that_is_no_number_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKLOOP_UPLOAD_MIB", "2 GB")
    with pytest.raises(ImproperlyConfigured, match="2 GB"):
        environment.read_number("RANKLOOP_UPLOAD_MIB")
