"""What the engine says is in the database exactly once, whatever breaks in between, and whatever it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from tests.training.conftest import MakeRun
from training.ingesting import Told, ingest, last_event
from training.launching import run_folder
from training.models import Run

pytestmark = pytest.mark.django_db


def say(run: Run, *events: dict[str, Any] | str) -> None:
    with (run_folder(run) / "events.jsonl").open("a") as file:
        for event in events:
            file.write(event if isinstance(event, str) else json.dumps({"time": 1.0, **event}) + "\n")


def take_in(run: Run) -> Told:
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        told = ingest(locked, run_folder(run))
    run.refresh_from_db()
    return told


def metric(step: int, **values: float | None) -> dict[str, Any]:
    return {"event": "metric", "step": step, "values": values}


def progress(done: int, phase: str = "training") -> dict[str, Any]:
    return {"event": "progress", "done": done, "total": 10, "phase": phase}


def test_each_kind_of_event_becomes_what_it_says(make_run: MakeRun) -> None:
    run = make_run()
    prompt = [{"role": "user", "content": "Hello?"}]
    say(
        run,
        progress(3),
        metric(3, loss=0.5, accuracy=None),
        {"event": "sample", "prompt": prompt, "response": "Hi!"},
        {"event": "artifact", "name": "adapter", "path": "adapter", "sha256": "a" * 64},
        {"event": "log", "text": "All is well."},
        {"event": "error", "sentence": "It was not."},
    )
    told = take_in(run)
    assert (run.done, run.total, run.phase) == (3, 10, "training")
    assert list(run.metrics.values_list("step", "name", "value")) == [(3, "accuracy", None), (3, "loss", 0.5)]
    assert list(run.samples.values_list("step", "prompt", "response")) == [(3, prompt, "Hi!")]
    assert list(run.artifacts.values_list("name", "path", "sha256")) == [("adapter", "adapter", "a" * 64)]
    assert (told.logs, told.error, told.more) == (["All is well."], "It was not.", False)


def test_a_line_is_taken_in_once_and_only_when_it_is_whole(make_run: MakeRun) -> None:
    run = make_run()
    sample = {"event": "sample", "prompt": [], "response": "one"}
    say(run, sample)
    line = json.dumps(sample | {"response": "two"})
    say(run, line[:20])
    take_in(run)
    take_in(run)
    assert list(run.samples.values_list("response", flat=True)) == ["one"]
    say(run, line[20:] + "\n")
    take_in(run)
    assert list(run.samples.values_list("response", flat=True)) == ["one", "two"]


def test_what_was_rolled_back_is_taken_in_again(make_run: MakeRun) -> None:
    run = make_run()
    say(run, {"event": "sample", "prompt": [], "response": "one"}, metric(1, loss=1.0))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ingest(Run.objects.select_for_update().get(pk=run.pk), run_folder(run))
        raise ZeroDivisionError
    assert not run.samples.exists() and Run.objects.get(pk=run.pk).events_offset == 0
    take_in(run)
    assert (run.samples.count(), run.metrics.count()) == (1, 1)


def test_a_step_that_a_resumed_run_repeats_replaces_the_first(make_run: MakeRun) -> None:
    run = make_run()
    say(run, metric(1, loss=3.0), metric(2, loss=2.0), metric(2, loss=1.5))
    take_in(run)
    say(run, metric(2, loss=1.0))
    take_in(run)
    assert list(run.metrics.values_list("step", "value")) == [(1, 3.0), (2, 1.0)]


def test_an_artifact_made_again_replaces_the_first(make_run: MakeRun) -> None:
    run = make_run()
    event = {"event": "artifact", "name": "adapter", "path": "adapter"}
    say(run, event | {"sha256": "a" * 64})
    take_in(run)
    say(run, event | {"sha256": "b" * 64})
    take_in(run)
    assert list(run.artifacts.values_list("sha256", flat=True)) == ["b" * 64]


def test_what_a_later_start_would_do_again_is_shown_and_is_no_progress(make_run: MakeRun) -> None:
    """Or a run that breaks in the middle of a batch, a little later each time, would never give up."""
    run = make_run()
    say(run, progress(4) | {"kept": False})
    take_in(run)
    assert (run.done, run.advanced) == (4, False)
    say(run, progress(4))
    take_in(run)
    assert (run.done, run.advanced) == (4, True)


def test_progress_is_what_was_never_reached_before(make_run: MakeRun) -> None:
    run = make_run()
    say(run, progress(0), progress(5))
    take_in(run)
    assert run.advanced
    Run.objects.filter(pk=run.pk).update(advanced=False)  # as the next claim does
    say(run, progress(3), progress(5))
    take_in(run)
    assert not run.advanced
    say(run, progress(6))
    take_in(run)
    assert run.advanced


@pytest.mark.parametrize(
    "line",
    [
        "not JSON\n",
        "[]\n",
        "{}\n",
        '{"event": "rumour"}\n',
        '{"event": "metric", "step": -1, "values": {"loss": 1}}\n',
        '{"event": "metric", "step": 1, "values": {"loss": "low"}}\n',
        '{"event": "metric", "step": 99999999999, "values": {"loss": 1}}\n',
        '{"event": "progress", "done": null, "total": 1, "phase": ""}\n',
        '{"event": "artifact", "name": "a", "path": "a", "sha256": "short"}\n',
        "\xff\n",
    ],
)
def test_a_line_that_is_no_event_stops_nothing(make_run: MakeRun, line: str) -> None:
    run = make_run()
    say(run, line, metric(2, loss=1.0))
    take_in(run)
    assert list(run.metrics.values_list("step", flat=True)) == [2]


def test_text_that_the_database_cannot_hold_is_kept_without_it(make_run: MakeRun) -> None:
    run = make_run()
    prompt = [{"role": "user", "content": "a\0b\ud800"}]
    say(run, {"event": "sample", "prompt": prompt, "response": "x\0y\udfff"}, metric(1, loss=float("nan")))
    take_in(run)
    sample = run.samples.get()
    assert (sample.prompt, sample.response) == ([{"role": "user", "content": "a\ufffdb?"}], "x\ufffdy?")
    assert run.metrics.get().value is None


def test_many_events_are_taken_in_part_by_part(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.ingesting.PART_BYTES", 100)
    run = make_run()
    long = {"event": "sample", "prompt": [], "response": "x" * 300}
    say(run, metric(1, loss=1.0), metric(2, loss=1.0), long, metric(3, loss=1.0))
    parts = 1
    while take_in(run).more:
        parts += 1
    assert parts > 2
    assert list(run.metrics.values_list("step", flat=True)) == [1, 2, 3]
    assert run.samples.count() == 1


def test_a_file_cut_short_by_a_lost_disk_cache_is_read_again(make_run: MakeRun) -> None:
    run = make_run()
    say(run, {"event": "sample", "prompt": [], "response": "one"}, metric(1, loss=1.0), metric(2, loss=1.0))
    take_in(run)
    file = run_folder(run) / "events.jsonl"
    file.write_text(file.read_text().split("\n")[0] + "\n")
    say(run, metric(1, loss=0.5))
    take_in(run)
    assert run.samples.count() == 1
    assert list(run.metrics.values_list("step", "value")) == [(1, 0.5), (2, 1.0)]


@pytest.mark.parametrize(
    ("content", "event"),
    [
        ("", None),
        ('{"event": "log"}\n{"event": "end", "state": "succeeded"}\n', "end"),
        ('{"event": "end", "state": "succeeded"}\n{"event": "lo', None),
        ("no JSON\n", None),
        ("[1]\n", None),
    ],
)
def test_the_last_event_counts_only_when_its_line_is_whole(
    tmp_path: Path, content: str, event: str | None
) -> None:
    (tmp_path / "events.jsonl").write_text(content)
    assert last_event(tmp_path).get("event") == event


def test_a_run_that_said_nothing_has_no_last_event(tmp_path: Path) -> None:
    assert last_event(tmp_path) == {}
