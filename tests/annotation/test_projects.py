"""Projects and their people."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser

from annotation.importing import import_prompts
from annotation.models import Aspect, AspectRating, Membership, Project, User
from annotation.projects import (
    Role,
    add_member,
    create_project,
    create_user,
    projects_of,
    remove_member,
    require_role,
    role_of,
    set_aspects,
    update_project,
)
from annotation.refusals import Refusal
from tests.annotation.conftest import Compose, People, answer, take

pytestmark = pytest.mark.django_db


def test_who_makes_a_project_manages_it(project: Project, manager: User) -> None:
    assert role_of(manager, project) is Role.MANAGER
    assert list(projects_of(manager)) == [project]


def test_names_that_read_alike_get_slugs_of_their_own(manager: User) -> None:
    names = ["Café au lait", "Cafe au lait!", "回答", "質問"]
    slugs = [create_project(name=name, created_by=manager).slug for name in names]
    assert slugs == ["cafe-au-lait", "cafe-au-lait-2", "project", "project-2"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"name": "Answers"}, "conflict", "name"),
        ({"name": "  "}, "invalid", "name"),
        ({"name": "x" * 201}, "invalid", "name"),
        ({"name": "y", "held_out_share": 0.95}, "invalid", "held_out_share"),
        ({"name": "y", "held_out_share": "much"}, "invalid", "held_out_share"),
        ({"name": "y", "lease_minutes": 0}, "invalid", "lease_minutes"),
    ],
)
def test_a_wrong_field_is_named_and_no_project_made(
    project: Project, manager: User, fields: dict[str, object], code: str, field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        create_project(created_by=manager, **fields)
    assert (refused.value.code, refused.value.field) == (code, field)
    assert Project.objects.count() == 1


def test_the_held_out_share_is_fixed_once_there_are_prompts(project: Project) -> None:
    update_project(project=project, held_out_share=0.5)
    import_prompts(project=project, rows=[(1, {"prompt": "Why?"})])
    with pytest.raises(Refusal, match=r"fixed at 0\.5") as refused:
        update_project(project=project, held_out_share=0.1)
    assert refused.value.field == "held_out_share"
    assert update_project(project=project, held_out_share=0.5, description="new").description == "new"


def test_each_role_may_do_what_those_before_it_may(project: Project) -> None:
    reviewer = create_user(username="reviewer")
    add_member(project=project, user=reviewer, role="reviewer")
    require_role(user=reviewer, project=project, role="annotator")
    require_role(user=reviewer, project=project, role="reviewer")
    with pytest.raises(Refusal, match="needs the role of manager in Answers; yours is reviewer") as refused:
        require_role(user=reviewer, project=project, role="manager")
    assert refused.value.code == "forbidden"


def test_superusers_manage_everything_and_the_inactive_and_anonymous_nothing(project: Project) -> None:
    root = create_user(username="root", superuser=True)
    gone = create_user(username="gone")
    add_member(project=project, user=gone, role="manager")
    gone.is_active = False
    gone.save()

    assert role_of(root, project) is Role.MANAGER
    assert list(projects_of(root)) == [project]
    for nobody in (gone, AnonymousUser()):
        assert role_of(nobody, project) is None
        assert not projects_of(nobody).exists()


def test_adding_a_member_again_changes_their_role(project: Project) -> None:
    user = create_user(username="user")
    for role in ("annotator", "manager"):
        add_member(project=project, user=user, role=role)
    assert Membership.objects.get(project=project, user=user).role == "manager"


def test_a_project_always_keeps_a_manager(project: Project, manager: User) -> None:
    with pytest.raises(Refusal, match="last manager"):
        add_member(project=project, user=manager, role="annotator")
    with pytest.raises(Refusal, match="last manager"):
        remove_member(project=project, user=manager)
    add_member(project=project, user=create_user(username="second"), role="manager")
    remove_member(project=project, user=manager)
    assert role_of(manager, project) is None


def test_an_unknown_role_is_refused(project: Project, manager: User) -> None:
    with pytest.raises(Refusal, match="annotator, reviewer, manager, not 'boss'"):
        add_member(project=project, user=manager, role="boss")


def test_passwords_are_checked_and_never_kept_as_text() -> None:
    user = create_user(username="careful", password="a long enough one 9")
    assert user.check_password("a long enough one 9")
    assert "long enough" not in user.password
    with pytest.raises(Refusal) as refused:
        create_user(username="hasty", password="12345")
    assert refused.value.field == "password"
    with pytest.raises(Refusal) as refused:
        create_user(username="careful")
    assert (refused.value.code, refused.value.field) == ("conflict", "username")
    assert not create_user(username="single-sign-on").has_usable_password()


def test_a_rubric_is_replaced_as_a_whole(project: Project) -> None:
    set_aspects(
        project=project,
        aspects=[{"name": "safety", "question": "Safe?"}, {"name": "style", "question": "Stylish?"}],
    )
    set_aspects(
        project=project,
        aspects=[
            {"name": "style", "question": "Pleasant?", "steps": 3},
            {"name": "facts", "question": "True?"},
        ],
    )
    kept = list(project.aspects.values_list("name", "question", "steps"))
    assert kept == [("style", "Pleasant?", 3), ("facts", "True?", 5)]


@pytest.mark.parametrize(
    "aspects",
    [
        [{"name": "two words", "question": "?"}],
        [{"name": "safety", "question": ""}],
        [{"name": "safety", "question": "?", "steps": 11}],
        [{"name": "safety", "question": "?"}, {"name": "safety", "question": "?"}],
    ],
)
def test_a_wrong_rubric_changes_nothing(project: Project, aspects: list[dict[str, object]]) -> None:
    set_aspects(project=project, aspects=[{"name": "kept", "question": "Kept?"}])
    with pytest.raises(Refusal) as refused:
        set_aspects(project=project, aspects=aspects)
    assert refused.value.field == "aspects"
    assert [aspect.name for aspect in project.aspects.all()] == ["kept"]


def test_an_aspect_with_ratings_stays(project: Project, people: People, compose: Compose) -> None:
    rubric = {"name": "safety", "question": "Safe?", "steps": 5}
    set_aspects(project=project, aspects=[rubric])
    compose(1)
    ranking = answer(take(people(1)[0], project))
    AspectRating.objects.create(ranking=ranking, aspect=Aspect.objects.get(), position=0, rating=5)

    with pytest.raises(Refusal, match="ratings"):
        set_aspects(project=project, aspects=[])
    with pytest.raises(Refusal, match="5 steps"):
        set_aspects(project=project, aspects=[{**rubric, "steps": 3}])
    (aspect,) = set_aspects(project=project, aspects=[{**rubric, "question": "Is it safe?"}])
    assert aspect.question == "Is it safe?"
