"""A sample run's responses are stored once, however often they are brought."""

from __future__ import annotations

import uuid

import pytest

from annotation.importing import import_prompts
from annotation.models import Project, Response, Source, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from annotation.responding import store_draws

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(project: Project) -> Source:
    import_prompts(project=project, rows=[(n, {"prompt": f"Question {n}?"}) for n in range(3)])
    return Source.objects.create(project=project, name="model", kind=Source.Kind.MODEL)


def test_storing_draws_again_changes_nothing(project: Project, source: Source) -> None:
    run = uuid.uuid4()
    draws = [
        {"id": str(prompt.pk), "index": index, "text": f"answer {index}", "tokens": 2, "finish": finish}
        for prompt in project.prompts.all()
        for index, finish in enumerate(["stop", "length"])
    ]
    assert store_draws(source=source, drawn_by=run, draws=draws[:4]) == 4
    assert store_draws(source=source, drawn_by=run, draws=draws) == 2
    assert store_draws(source=source, drawn_by=run, draws=draws) == 0
    kept = Response.objects.filter(drawn_by=run).order_by("prompt", "index")
    assert (
        list(kept.values_list("index", "text", "tokens", "ended"))
        == [
            (0, "answer 0", 2, True),
            (1, "answer 1", 2, False),
        ]
        * 3
    )


def test_a_nul_character_from_a_model_does_not_stop_the_rest(project: Project, source: Source) -> None:
    prompt = project.prompts.first()
    assert prompt is not None
    draws = [{"id": prompt.pk, "index": 0, "text": "a\x00b", "tokens": 3, "finish": "stop"}]
    store_draws(source=source, drawn_by=uuid.uuid4(), draws=draws)
    assert Response.objects.get().text == "a\N{REPLACEMENT CHARACTER}b"


def test_an_answer_to_another_projects_prompt_is_refused_and_nothing_stored(
    manager: User, project: Project, source: Source
) -> None:
    other = create_project(name="Other", created_by=manager)
    import_prompts(project=other, rows=[(1, {"prompt": "Elsewhere?"})])
    prompts = [*project.prompts.all(), other.prompts.get()]
    draws = [{"id": prompt.pk, "index": 0, "text": "a", "tokens": 1, "finish": "stop"} for prompt in prompts]
    with pytest.raises(Refusal, match="which Answers does not have"):
        store_draws(source=source, drawn_by=uuid.uuid4(), draws=draws)
    assert not Response.objects.exists()
