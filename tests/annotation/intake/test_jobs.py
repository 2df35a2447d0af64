"""An import is carried out once or not at all, whatever happens to whoever carries it out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from annotation.intake import carrying_out, jobs
from annotation.intake.bad_lines import as_csv, bad_lines_of
from annotation.intake.carrying_out import carry_out
from annotation.intake.jobs import (
    cancel_import,
    change_import,
    claim,
    draft_import,
    start_import,
    sweep_imports,
)
from annotation.models import Batch, Import, Project, Ranking, User
from annotation.projects import create_project, create_user
from annotation.refusals import Refusal
from annotation.rows import MOST_ERRORS_LISTED

pytestmark = pytest.mark.django_db(transaction=True)

State = Import.State
PAIRS = "".join(
    f'{{"prompt": "Question {n}?", "chosen": "yes {n}", "rejected": "no {n}"}}\n' for n in range(20)
)


@pytest.fixture
def manager() -> User:
    return create_user(username="manager")


@pytest.fixture
def project(manager: User) -> Project:
    return create_project(name="Answers", created_by=manager)


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sent: list[Any] = []
    monkeypatch.setattr(jobs, "send_hint", lambda *told, queue: sent.append((*told, queue)))
    return sent


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying_out, "BEAT_SECONDS", 0.01)


def draft(project: Project, text: str = PAIRS, file_name: str = "pairs.jsonl", **more: Any) -> Import:
    given: dict[str, Any] = {"created_by": None, "pieces": [text.encode()], "file_name": file_name} | more
    return draft_import(project=project, **given)[0]


def stored(job: Import) -> Path:
    return Path(settings.RANKLOOP_HOME) / job.location


def test_a_draft_tells_what_would_come_and_keeps_nothing(project: Project, manager: User) -> None:
    job, told = draft_import(
        project=project, created_by=manager, pieces=[PAIRS.encode()], file_name="pairs.jsonl"
    )
    assert (job.state, job.form, job.name, told.detected) == (State.DRAFT, "trl", "pairs", "trl")
    assert told.counts == {
        "prompts": 20,
        "responses": 40,
        "sources": 1,
        "rankings": 20,
        "ties": 0,
        "annotators": 0,
    }
    assert (told.rows, told.whole, len(told.shown)) == (20, True, 5)
    assert [one.tier for one in told.shown[0].responses] == [1, 2]
    assert stored(job).read_text() == PAIRS
    assert not project.prompts.exists()


def test_a_started_import_is_carried_out_once(project: Project, messages: list[Any]) -> None:
    job = start_import(draft(project))
    assert messages == [("annotation.tasks.carry_out_import", job.pk, "default")]
    path = stored(job)

    ended = carry_out(job.pk)

    assert ended is not None and ended.state == State.SUCCEEDED, ended and ended.reason
    assert ended.report["rankings"] == 20
    assert ended.batch == project.batches.get()
    assert not path.exists()
    assert carry_out(job.pk) is None
    assert Ranking.objects.count() == 20


def test_two_workers_with_one_message_carry_it_out_once(project: Project) -> None:
    job = start_import(draft(project))
    ended: list[Import | None] = []

    def work() -> None:
        from django.db import connection

        try:
            ended.append(carry_out(job.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one is not None for one in ended) == [False, False, True]
    assert Ranking.objects.count() == 20


def test_bad_lines_fail_it_and_the_rest_comes_on_request(project: Project) -> None:
    job = start_import(draft(project, PAIRS + '{"prompt": "x", "chosen": 3, "rejected": "y"}\n[]\n'))
    failed = carry_out(job.pk)
    assert failed is not None and failed.state == State.FAILED
    assert (failed.bad, [error["line"] for error in failed.errors]) == (2, [21, 22])
    assert "2 of 22 lines are wrong, so nothing was imported" in failed.reason
    assert not project.prompts.exists() and stored(failed).exists()

    ended = carry_out(start_import(failed, skip_bad=True).pk)
    assert ended is not None and ended.state == State.SUCCEEDED
    assert (ended.report["rankings"], ended.bad, len(ended.errors)) == (20, 2, 2)


def test_every_bad_line_is_kept_by_number_until_it_is_started_again(project: Project) -> None:
    bad = '{"prompt": "=1+1", "chosen": 3, "rejected": "y"}\n' * (MOST_ERRORS_LISTED + 7)
    failed = carry_out(start_import(draft(project, PAIRS + bad)).pk)
    assert failed is not None and len(failed.errors) == MOST_ERRORS_LISTED
    assert [error.line for error in bad_lines_of(failed)] == list(range(21, 21 + MOST_ERRORS_LISTED + 7))
    kept = Path(settings.RANKLOOP_HOME) / failed.bad_location
    assert b"".join(as_csv(bad_lines_of(failed))).count(b"\r\n") == MOST_ERRORS_LISTED + 8

    ended = carry_out(start_import(failed, skip_bad=True).pk)

    assert ended is not None and ended.state == State.SUCCEEDED and not kept.exists()
    assert len(list(bad_lines_of(ended))) == ended.bad == MOST_ERRORS_LISTED + 7


def test_lines_that_are_found_wrong_late_stand_among_those_that_were_found_early(project: Project) -> None:
    lines = [
        json.dumps({"prompt": "Rice?", "left": "a", "right": "b", "winner": "left", "annotator": f"w{n}"})
        for n in range(1003)
    ]
    lines.insert(1001, '{"prompt": ""}')
    lines.append('{"prompt": ""}')
    mapping = {
        "prompt": "prompt",
        "responses": ["left", "right"],
        "winner": "winner",
        "annotator": "annotator",
    }
    job = draft(project, "\n".join(lines), "votes.jsonl", form="columns", mapping=mapping)
    ended = carry_out(start_import(job, skip_bad=True).pk)

    assert ended is not None and ended.state == State.SUCCEEDED, ended
    found = [(error.line, error.field) for error in bad_lines_of(ended)]
    assert found == [
        (1001, "annotator"),
        (1002, "prompt"),
        (1003, "annotator"),
        (1004, "annotator"),
        (1005, "prompt"),
    ]


def test_bad_lines_that_are_dropped_while_they_are_read_reach_their_reader_all(project: Project) -> None:
    failed = carry_out(start_import(draft(project, PAIRS + "[]\n" * (MOST_ERRORS_LISTED + 7))).pk)
    assert failed is not None
    table = as_csv(bad_lines_of(failed))
    kept = Path(settings.RANKLOOP_HOME) / failed.bad_location
    Import.objects.update(ended_at=timezone.now() - timedelta(days=8))
    sweep_imports()
    assert not kept.exists()
    assert b"".join(table).count(b"\r\n") == MOST_ERRORS_LISTED + 8


def test_once_bad_lines_are_not_kept_any_more_the_first_are_told(project: Project) -> None:
    failed = carry_out(start_import(draft(project, PAIRS + "[]\n")).pk)
    assert failed is not None and failed.bad_location
    Import.objects.update(ended_at=timezone.now() - timedelta(days=8))
    sweep_imports()
    failed.refresh_from_db()
    assert not failed.bad_location and [error.line for error in bad_lines_of(failed)] == [21]


def test_a_draft_is_read_in_another_way(project: Project) -> None:
    text = "q,a,b,w\nRice?,long,short,b\n"
    job = draft(project, text, "table.csv", mapping={"prompt": "q", "responses": ["a", "b"]})
    assert job.form == "columns"
    job, told = change_import(
        job, mapping={"prompt": "q", "responses": ["a", "b"], "winner": "w"}, name="Crowd"
    )
    assert (told.counts["rankings"], job.name) == (1, "Crowd")
    with pytest.raises(Refusal, match="no field 'colour'"):
        change_import(job, mapping={"colour": "q"})
    job, told = change_import(job, form="trl")
    assert told.bad.count == 1 and job.form == "trl"
    with pytest.raises(Refusal, match="no form 'magic'"):
        change_import(job, form="magic")


def test_what_lacks_a_mapping_is_not_started(project: Project) -> None:
    job = draft(project, "one,two\n1,2\n", "table.csv")
    with pytest.raises(Refusal, match="Say which of the file's fields is: Prompt"):
        start_import(job)


def test_a_running_import_that_is_cancelled_keeps_nothing(
    project: Project, quick: None, during: Callable[[Callable[[Import], None]], None]
) -> None:
    job = start_import(draft(project))
    during(lambda running: cancel_import(running))
    ended = carry_out(job.pk)
    assert ended is not None and ended.state == State.CANCELLED
    assert not project.prompts.exists() and not Batch.objects.exists()


def test_a_worker_that_was_taken_for_lost_keeps_nothing(
    project: Project, quick: None, during: Callable[[Callable[[Import], None]], None]
) -> None:
    job = start_import(draft(project))

    def take_over(running: Import) -> None:
        # Its worker may renew the lease in between.
        for _ in range(100):
            Import.objects.filter(pk=running.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            sweep_imports()
            if claim(running.pk) is not None:
                return
        raise AssertionError("the import was never taken for lost")

    during(take_over)
    carry_out(job.pk)
    assert not project.prompts.exists()
    job.refresh_from_db()
    assert (job.state, job.token, job.losses) == (State.RUNNING, 2, 1)


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Import], None]], None]]:
    """Has something happen in another thread, as in another process, while an import is read; the import goes on
    until it is told to stop, or for ten seconds."""

    def arrange(happens: Callable[[Import], None]) -> None:
        settle = carrying_out.bring_in

        def slow(**given: Any) -> Any:
            def rows() -> Iterator[Any]:
                yield from given["rows"]
                other = threading.Thread(target=_apart, args=(happens,))
                other.start()
                other.join()
                for _ in range(1000):
                    given["tell"]("Reading", 1)
                    threading.Event().wait(0.01)

            return settle(**given | {"rows": rows()})

        monkeypatch.setattr(carrying_out, "bring_in", slow)

    yield arrange


def _apart(happens: Callable[[Import], None]) -> None:
    from django.db import connection

    try:
        happens(Import.objects.get())
    finally:
        connection.close()


def test_a_lost_worker_is_found_and_the_import_waits_again(project: Project, messages: list[Any]) -> None:
    job = start_import(draft(project))
    assert claim(job.pk) is not None
    sweep_imports()
    assert Import.objects.get().state == State.RUNNING  # its lease still holds
    for losses in (1, 2, 3):
        Import.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        messages.clear()
        sweep_imports()
        job.refresh_from_db()
        assert job.losses == losses
        if losses < 3:
            assert job.state == State.QUEUED
            assert messages == [("annotation.tasks.carry_out_import", job.pk, "default")]
            assert claim(job.pk) is not None
    assert job.state == State.FAILED
    assert "was lost 3 times" in job.reason


def test_imports_are_carried_out_one_at_a_time(project: Project, messages: list[Any]) -> None:
    first, second = (start_import(draft(project, file_name=f"{n}.jsonl")) for n in "ab")
    assert claim(first.pk) is not None
    assert claim(second.pk) is None
    assert claim(second.pk, beside_others=True) is not None


def test_a_fault_fails_the_import_and_keeps_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**given: Any) -> Any:
        list(given["rows"])
        raise KeyError("x")

    monkeypatch.setattr(carrying_out, "bring_in", broken)
    ended = carry_out(start_import(draft(project)).pk)
    assert ended is not None and ended.state == State.FAILED
    assert "A fault of Rankloop stopped it" in ended.reason


def test_what_is_done_stays_done(project: Project) -> None:
    job = start_import(draft(project))
    carry_out(job.pk)
    for act in (start_import, cancel_import, change_import):
        with pytest.raises(Refusal, match="This import is done"):
            act(job)


def test_a_draft_that_is_dropped_leaves_no_file(project: Project) -> None:
    job = draft(project)
    path = stored(job)
    assert cancel_import(job).state == State.CANCELLED
    assert not path.exists()


def test_a_file_that_is_none_leaves_nothing(project: Project) -> None:
    folder = Path(settings.RANKLOOP_HOME) / "imports"
    before = set(folder.glob("*")) if folder.exists() else set()
    for name, text in (("x.jsonl", ""), ("x.pdf", "a"), ("x.parquet", "a"), ("x.csv.gz", "a")):
        with pytest.raises(Refusal):
            draft(project, text, name)
    assert not Import.objects.exists()
    assert set(folder.glob("*")) == before


def test_a_file_that_a_dead_worker_left_is_dropped(project: Project) -> None:
    job = draft(project)
    path = stored(job)
    Import.objects.update(state="succeeded", ended_at=timezone.now() - timedelta(days=8))
    sweep_imports()
    assert not path.exists()


def test_old_files_of_what_nobody_starts_are_dropped(project: Project) -> None:
    job = draft(project)
    path = stored(job)
    Import.objects.update(created_at=timezone.now() - timedelta(days=8))
    sweep_imports()
    assert not path.exists()
    job.refresh_from_db()
    with pytest.raises(Refusal, match="is not kept any more"):
        start_import(job)
