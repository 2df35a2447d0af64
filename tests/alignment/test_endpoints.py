"""Who may have workers send prompts and keys where."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from alignment.endpoints import granted_key, listed_endpoints
from alignment.sources import create_endpoint_source
from annotation.models import Project, Source, User
from annotation.projects import create_user
from annotation.refusals import Refusal

pytestmark = pytest.mark.django_db

LISTED = "https://api.example.org/v1=EXAMPLE_API_KEY, https://api.example.org/v1/big=BIG_API_KEY,http://localhost:8000/v1"


@pytest.fixture
def plain() -> User:
    """A manager who is no administrator."""
    return create_user(username="plain")


def made_by(user: User, project: Project, **changes: Any) -> Source:
    given = {"name": "peer", "url": "https://api.example.org/v1", "model": "m", **changes}
    return create_endpoint_source(project=project, created_by=user, **given)


def test_only_administrators_name_addresses_where_none_are_listed(
    project: Project, plain: User, manager: User
) -> None:
    with pytest.raises(Refusal, match="Ask an administrator") as refused:
        made_by(plain, project)
    assert refused.value.code == "forbidden" and not Source.objects.exists()

    source = made_by(manager, project, url="http://10.0.0.5/v1", key_variable="ANY_API_KEY")
    assert source.endpoint_key_variable == "ANY_API_KEY"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.example.org/v1", "EXAMPLE_API_KEY"),
        ("https://API.example.org/v1/", "EXAMPLE_API_KEY"),
        ("https://api.example.org/v1/small", "EXAMPLE_API_KEY"),
        ("https://api.example.org/v1/big", "BIG_API_KEY"),
        ("http://localhost:8000/v1", ""),
    ],
)
def test_a_listed_address_comes_with_its_key(
    project: Project, plain: User, settings: Any, url: str, key: str
) -> None:
    settings.RANKLOOP_ENDPOINTS = LISTED
    assert made_by(plain, project, url=url).endpoint_key_variable == key


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.org",
        "https://api.example.org/v12",
        "http://api.example.org/v1",
        "https://api.example.org:444/v1",
        "https://api.example.org.evil.net/v1",
        "http://localhost:80001/v1",
    ],
)
def test_an_address_that_only_looks_like_a_listed_one_is_refused(
    project: Project, plain: User, settings: Any, url: str
) -> None:
    settings.RANKLOOP_ENDPOINTS = LISTED
    with pytest.raises(Refusal) as refused:
        made_by(plain, project, url=url)
    assert refused.value.field == "url"


@pytest.mark.parametrize("url", ["https://api.example.org/v1", "http://localhost:8000/v1"])
def test_no_key_but_the_listed_one_goes_to_an_address(
    project: Project, plain: User, settings: Any, url: str
) -> None:
    settings.RANKLOOP_ENDPOINTS = LISTED
    with pytest.raises(Refusal, match="only administrators choose keys"):
        made_by(plain, project, url=url, key_variable="OTHER_API_KEY")


def test_a_former_administrator_is_none(manager: User) -> None:
    manager.is_active = False
    with pytest.raises(Refusal):
        granted_key(url="http://localhost:1/v1", key_variable="ANY_API_KEY", user=manager)


@pytest.mark.parametrize("wrong", ["nowhere.test", "https://example.org=sk-the-key-itself"])
def test_a_list_that_nobody_understands_is_told_by_its_place_and_never_shown(
    settings: Any, wrong: str
) -> None:
    settings.RANKLOOP_ENDPOINTS = f"https://good.example.org/v1,{wrong}"
    with pytest.raises(ImproperlyConfigured, match="Entry 2 of RANKLOOP_ENDPOINTS must be") as refused:
        listed_endpoints()
    assert wrong not in str(refused.value)
