"""The quality of a batch through the API."""

from __future__ import annotations

import pytest

from annotation.batching import close_batch
from annotation.models import Batch
from tests.api.world import World
from tests.frontend.quality import fill


@pytest.fixture
def batch(world: World) -> Batch:
    return fill(world.project, tasks=50, ranked=0.9)


def test_every_figure_of_a_batch_is_answered(world: World, batch: Batch) -> None:
    client, address = world.client("reviewer"), f"/api/v1/batches/{batch.pk}"

    agreement = client.get(f"{address}/agreement").json()
    assert 0.4 < agreement["agreement"] < 0.9 and len(agreement["over_time"]) == 2
    assert agreement["over_time"][0]["tasks"] == 23
    annotators = client.get(f"{address}/annotators").json()
    busiest = annotators["annotators"][0]
    assert busiest["rankings"] == max(one["rankings"] for one in annotators["annotators"])
    assert busiest["agreement_low"] < busiest["agreement"] < busiest["agreement_high"]
    assert 0 < sum(one["known_pairs"] for one in annotators["annotators"]) == 3 * 3 * 6
    assert sum(one["gold_pairs"] for one in annotators["annotators"]) == 0, "there is no gold batch"
    assert {one["kind"] for one in annotators["suspicions"]} >= {"too-fast"}
    aspects = {one["aspect"]: one for one in client.get(f"{address}/aspects").json()}
    assert aspects["accuracy"]["with_ranking"]["value"] > 0.8
    assert (
        abs(aspects["style"]["with_ranking"]["value"] - 0.5) < 0.15 and sum(aspects["style"]["counts"]) == 540
    )
    sources = client.get(f"{address}/sources").json()
    assert [one["name"] for one in sources] == ["Cookbook model", "House cook"]
    (rate,) = client.get(f"{address}/win-rates").json()["win_rates"]
    assert rate["prompts"] == 45
    reliability = client.get(f"{address}/reliability").json()
    assert {one["annotator"] for one in reliability} <= {one["annotator"] for one in annotators["annotators"]}
    assert all(one["low"] < one["value"] < one["high"] for one in reliability)


def test_the_progress_tells_the_pace_and_a_forecast_or_why_there_is_none(world: World, batch: Batch) -> None:
    client, address = world.client("reviewer"), f"/api/v1/batches/{batch.pk}"
    progress = client.get(f"{address}/progress").json()
    assert (progress["submitted"], progress["left"], progress["open"]) == (135, 15, 15)
    assert progress["steps"][-1]["so_far"] == 135 and not progress["by_hour"]
    assert (
        progress["forecast"]["earliest"] <= progress["forecast"]["likely"] <= progress["forecast"]["latest"]
    )
    close_batch(batch)
    closed = client.get(f"{address}/progress").json()
    assert closed["forecast"] is None and closed["no_forecast"] == "Closed before all was ranked."


def test_tasks_come_by_disagreement_with_filters_and_pages(world: World, batch: Batch) -> None:
    client, address = world.client("reviewer"), f"/api/v1/batches/{batch.pk}/tasks"
    first = client.get(f"{address}?page_size=10").json()
    shares = [one["disagreement"] for one in first["results"]]
    assert first["count"] == 50 and shares == sorted(shares, reverse=True)
    own = client.get(f"{address}?order=oldest&annotator=jonas&pattern=too-fast").json()
    assert 0 < own["count"] < 50
    assert client.get(f"{address}?twice=true").json()["count"] == 45
    for wrong in ("order=sideways", "flag=purple", "source=0", "skipped=perhaps", "colour=red"):
        assert client.get(f"{address}?{wrong}").status_code == 400, wrong


def test_pairs_of_annotators_come_in_pages_and_of_one_annotator(world: World, batch: Batch) -> None:
    client, address = world.client("reviewer"), f"/api/v1/batches/{batch.pk}/annotators/pairs"
    every = client.get(f"{address}?page_size=500").json()
    own = client.get(f"{address}?annotator=jonas&page_size=500").json()
    assert 11 >= own["count"] > 0 and every["count"] > own["count"]
    assert all("jonas" in (one["annotator"], one["other"]) for one in own["results"])
    assert all(one["kappa"] is None for one in every["results"] if one["tasks"] < 5)
