"""An archived model version is chosen no more, and nothing that uses it is lost."""

from __future__ import annotations

import pytest

from alignment.archiving import archive_version, bring_version_back, sources_in_use, versions_in_use
from alignment.model_versions import current_version, model_of, register_base
from alignment.models import ModelVersion, Round
from alignment.rounds import cancel_round, start_round
from alignment.sources import create_import_source, create_model_source, default_sources
from annotation.models import Project, Source, User
from annotation.refusals import Refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def mistyped(project: Project) -> ModelVersion:
    version = register_base(project=project, name="mistyped", location="org/smal")
    create_model_source(project=project, name="draws from it", model_version=version)
    return version


def test_an_archived_version_is_no_choice_until_it_is_brought_back(
    project: Project, base: ModelVersion, source: Source, mistyped: ModelVersion
) -> None:
    brought = create_import_source(project=project, name="brought")
    assert current_version(project) == mistyped
    archived = archive_version(mistyped)
    assert archive_version(mistyped).archived_at == archived.archived_at, "twice is once"
    assert mistyped not in versions_in_use(project) and current_version(project) == base
    assert brought in sources_in_use(project)
    assert default_sources(project) == [source]
    assert "draws from it" not in {each.name for each in sources_in_use(project)}
    for choose in (
        lambda: create_model_source(project=project, name="again", model_version=archived),
        lambda: start_round(project=project, start_from=archived),
        lambda: start_round(project=project, sources=project.sources.filter(name="draws from it")),
    ):
        with pytest.raises(Refusal, match=r"mistyped is archived\. Bring it back"):
            choose()
    assert not Round.objects.exists()

    bring_version_back(archived)
    assert current_version(project) == mistyped and default_sources(project)[0].name == "draws from it"


def test_what_was_made_of_an_archived_version_still_works(project: Project, base: ModelVersion) -> None:
    child = ModelVersion.objects.create(
        project=project,
        name="child",
        form="adapter",
        location="runs/x/adapter",
        parent=base,
        state="promoted",
    )
    source = create_model_source(project=project, name="of the child", model_version=child)
    archive_version(base)
    assert model_of(child)["base"] == base.location
    assert default_sources(project) == [source], "not its archived parent's"


def test_a_version_that_a_round_uses_is_not_archived(
    project: Project, source: Source, base: ModelVersion, manager: User
) -> None:
    round = start_round(project=project, tasks=12, overlap=2)
    with pytest.raises(Refusal, match=r"Round 1 uses .* and is sampling\. Finish or cancel it first"):
        archive_version(base)
    cancel_round(round=round, by=manager)
    assert archive_version(base).archived_at
