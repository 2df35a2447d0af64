"""Pages of datasets: filters with their preview, comparison, lineage, withdrawal, the lock, and warnings."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from alignment.datasets import build_dataset
from alignment.model_versions import register_base
from alignment.models import Dataset, HeldOutLock, Withdrawal
from alignment.sources import create_model_source
from annotation.models import Batch, Project, User
from annotation.splitting import digest_of
from tests.frontend.test_alignment_pages import rank_all

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]
FORM = {"tie_margin": "0.1", "prior": "1"}


@pytest.fixture
def batch(project: Project, people: dict[str, User], compose: Compose) -> Batch:
    """Ranked alike by two, so that there is something to agree on."""
    batch = compose(6, overlap=2)
    for role in ("annotator", "reviewer"):
        rank_all(batch, people[role])
    return batch


@pytest.fixture
def dataset(project: Project, batch: Batch) -> Dataset:
    return build_dataset(project=project, batches=[batch])


def page(client: Client, name: str, *given: object) -> str:
    answer = client.get(reverse(name, args=given))
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_a_preview_counts_what_is_left_out_and_freezes_nothing(
    project: Project, batch: Batch, as_role: AsRole
) -> None:
    client, address = as_role("manager"), reverse("new_dataset", args=[project.slug])
    form = {**FORM, "batches": [batch.pk], "min_margin": "20"}
    shown = client.post(address, {**form, "preview": "1"})
    assert shown.status_code == 200
    assert "Small margin" in shown.content.decode() and "In the dataset" in shown.content.decode()
    assert not Dataset.objects.exists()
    refused = client.post(address, form)
    assert refused.status_code == 422 and "leave no task" in refused.content.decode()
    form["min_margin"] = "0.01"
    assert client.post(address, form).status_code == 302
    assert Dataset.objects.get().settings["filters"] == {"min_margin": 0.01}


def test_a_wrong_filter_stands_at_its_field_in_an_open_fold(
    project: Project, batch: Batch, as_role: AsRole
) -> None:
    form = {**FORM, "batches": [batch.pk], "ranked_from": "2026-02-01", "ranked_until": "2026-01-01"}
    answer = as_role("manager").post(reverse("new_dataset", args=[project.slug]), form)
    assert answer.status_code == 422
    assert "before the first day" in answer.context["form"].errors["ranked_until"][0]
    assert '<details class="folded" open>' in answer.content.decode()


def test_a_datasets_page_warns_draws_and_leads_to_what_is_behind_it(
    project: Project, dataset: Dataset, as_role: AsRole
) -> None:
    shown = page(as_role("reviewer"), "dataset", project.slug, dataset.version)
    assert "Before you train on it" in shown and "seldom moves a model" in shown
    assert "Responses by their length in words" in shown and 'class="plot__bar"' in shown
    assert "Leanings" in shown and "Personal data, by its form" in shown
    task = dataset.batches.get().tasks.order_by("prompt__digest").filter(prompt__split="train").first()
    assert task is not None
    assert reverse("dataset_record", args=[project.slug, dataset.version, task.pk]) in shown
    behind = page(as_role("reviewer"), "dataset_record", project.slug, dataset.version, task.pk)
    assert behind.count("<code>annotator-") == 2 and "[[0], [1], [2, 3]]" in behind
    assert ">annotator<" not in behind.split("<table", 1)[1].split("</table>")[0]


def test_a_card_from_before_is_still_shown(project: Project, dataset: Dataset, as_role: AsRole) -> None:
    new = ("leanings", "told_by_length", "told_by_source", "duplicates", "no_consensus", "personal_data")
    card = {
        name: value
        for name, value in dataset.card.items()
        if name not in (*new, "histograms", "languages", "left_out")
    }
    Dataset.objects.create(
        project=project,
        version=9,
        sha256="0" * 64,
        settings={"batches": []},
        card=card,
        train_rankings=0,
        held_out_rankings=0,
    )
    assert "restore RANKLOOP_HOME" in page(as_role("reviewer"), "dataset", project.slug, 9)


def test_versions_are_compared_and_the_changes_are_a_file(
    project: Project, batch: Batch, dataset: Dataset, as_role: AsRole
) -> None:
    client = as_role("reviewer")
    alone = page(client, "compare_datasets", project.slug, 1)
    assert "Nothing to compare with" in alone
    build_dataset(project=project, batches=[batch], settings={"tie_margin": 5.0})
    shown = page(client, "compare_datasets", project.slug, 2)
    assert "changed" in shown and "The same" in shown
    answer = client.get(reverse("dataset_changes", args=[project.slug, 2]), {"with": "1"})
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert len(lines) == 6 and {line["change"] for line in lines} == {"changed"}
    assert 'filename="kitchen-answers-v1-to-v2.jsonl"' in answer["Content-Disposition"]


def test_an_annotators_rankings_are_withdrawn_after_a_look_at_what_that_means(
    project: Project, people: dict[str, User], dataset: Dataset, as_role: AsRole
) -> None:
    client, who = as_role("manager"), people["annotator"]
    assert "Dataset version 1" in page(client, "member", project.slug, who.pk)
    address = reverse("withdraw_annotator", args=[project.slug, who.pk])
    asked = client.get(address).content.decode()
    assert "6 rankings" in asked and "Version 1" in asked and not Withdrawal.objects.exists()
    said = client.post(address, {"reason": "They left."}, follow=True).content.decode()
    assert "Version 2 is the newest dataset without it" in said and "They left." in said
    assert "withdrawn</a> since it was frozen" in page(client, "dataset", project.slug, 1)
    assert "withdrawn</a> from new datasets" in page(client, "member", project.slug, who.pk)
    again = client.post(address, {"reason": ""})
    assert again.status_code == 422 and "withdrawn already" in again.content.decode()
    client.post(reverse("end_withdrawal", args=[project.slug, Withdrawal.objects.get().pk]))
    assert Withdrawal.objects.get().ended_at is not None


def test_a_prompt_is_withdrawn_from_its_page(project: Project, dataset: Dataset, as_role: AsRole) -> None:
    client, prompt = as_role("manager"), project.prompts.first()
    assert prompt is not None
    assert "version 1" in page(client, "prompt", project.slug, prompt.pk)
    client.post(reverse("withdraw_prompt", args=[project.slug, prompt.pk]), {"reason": ""})
    assert Withdrawal.objects.get().prompt == prompt
    assert "new datasets are without it" in page(client, "prompt", project.slug, prompt.pk)


def test_the_held_out_set_is_locked_from_the_datasets_page(
    project: Project, dataset: Dataset, as_role: AsRole
) -> None:
    messages = [{"role": "user", "content": "Is tea good for me?"}]
    project.prompts.create(messages=messages, digest=digest_of(messages), split="held_out")
    client = as_role("manager")
    assert "Lock it" in page(client, "datasets", project.slug)
    said = client.post(reverse("lock_held_out", args=[project.slug]), follow=True).content.decode()
    assert "for the project’s life" in said and "Lock it" not in said
    assert HeldOutLock.objects.filter(project=project).exists()


def test_who_starts_a_round_is_told_what_the_newest_dataset_warns_of(
    project: Project, dataset: Dataset, as_role: AsRole
) -> None:
    version = register_base(project=project, name="small", location="org/small")
    create_model_source(project=project, name="small", model_version=version)
    shown = page(as_role("manager"), "new_round", project.slug)
    assert "Of dataset version 1, the newest" in shown and "seldom moves a model" in shown


@pytest.mark.parametrize(
    ("name", "role", "status"),
    [
        *((name, "annotator", 403) for name in ("withdrawals", "compare_datasets", "dataset_changes")),
        *((name, "reviewer", 200) for name in ("withdrawals", "compare_datasets", "dataset_changes")),
        ("withdraw_annotator", "reviewer", 403),
        ("withdraw_prompt", "reviewer", 403),
        *((name, "outsider", 404) for name in ("withdrawals", "compare_datasets", "withdraw_annotator")),
    ],
)
def test_pages_open_for_their_role(
    project: Project,
    people: dict[str, User],
    dataset: Dataset,
    as_role: AsRole,
    name: str,
    role: str,
    status: int,
) -> None:
    given = {
        "withdrawals": [],
        "withdraw_annotator": [people["annotator"].pk],
        "withdraw_prompt": [project.prompts.first().pk],
    }.get(name, [dataset.version])
    assert as_role(role).get(reverse(name, args=[project.slug, *given])).status_code == status
