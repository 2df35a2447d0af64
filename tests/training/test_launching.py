"""Asking for a run works or is refused, with and without a broker."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from config.hints import SEND_SECONDS, send_hint
from tests.training.conftest import SPEC, MakeRun
from training import sweeping
from training.launching import artifact_path, create_run, full_spec, read_log, run_folder
from training.models import Artifact, Run
from training.refusals import Refusal

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where something listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def dead_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def use_broker(monkeypatch: pytest.MonkeyPatch, url: str, **options: str) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)  # Celery prefers it to any argument
    broker = Celery("elsewhere", broker=url, set_as_current=False)
    broker.conf.broker_transport_options = options
    monkeypatch.setattr("config.hints.current_app", broker)


def test_a_run_is_made_and_its_message_sent_on_commit() -> None:
    with transaction.atomic():
        run = create_run(kind="sample", spec=SPEC, project_id=7)
        assert run.sent_at is None
    run.refresh_from_db()
    assert (run.state, run.kind, run.project_id, run.queue) == ("queued", "sample", 7, "accelerator")
    assert run.sent_at is not None


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("guess", SPEC, "`kind`"),
        ("sample", {}, "`model` or `endpoint`"),
        ("sample", SPEC | {"method": {"responses": 0}}, "`method.responses`"),
        ("sample", SPEC | {"data": {}}, "`data.prompts`"),
        ("sample", SPEC | {"colour": "red"}, "`colour`"),
        ("sample", SPEC | {"endpoint": SPEC["endpoint"] | {"api_key_env": "DATABASE_URL"}}, "api_key_env"),
    ],
)
def test_a_spec_that_cannot_work_is_refused_by_name_and_makes_nothing(
    kind: str, spec: dict, words: str
) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        create_run(kind=kind, spec=spec)
    assert (refused.value.code, refused.value.field) == ("invalid", "spec")
    assert not Run.objects.exists()


def test_no_run_waits_on_the_queue_of_ticks_whose_workers_it_would_keep_for_hours() -> None:
    with pytest.raises(ValueError, match="ticks"):
        create_run(kind="sample", spec=SPEC, queue=settings.CELERY_TASK_DEFAULT_QUEUE)
    assert not Run.objects.exists()


def test_the_engine_is_told_its_run_folder_and_lease() -> None:
    run = create_run(kind="sample", spec=SPEC)
    spec = full_spec(run)
    assert spec["kind"] == "sample" and spec["run"] == str(run.pk)
    assert Path(spec["output"]) == run_folder(run)
    assert Path(spec["lease"]).parent == run_folder(run)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_down_delays_a_run_and_does_not_lose_it(
    monkeypatch: pytest.MonkeyPatch, dead_port: int, scheme: str
) -> None:
    with monkeypatch.context() as down:
        use_broker(down, f"{scheme}://127.0.0.1:{dead_port}//")
        run = create_run(kind="sample", spec=SPEC, queue="nobody-listens")
        run.refresh_from_db()
        assert (run.state, run.sent_at) == ("queued", None)
        sweeping.sweep()
        assert Run.objects.get(pk=run.pk).sent_at is None
    before = timezone.now()
    sweeping.sweep()
    assert Run.objects.get(pk=run.pk).sent_at > before


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, silent_port: int, scheme: str
) -> None:
    use_broker(monkeypatch, f"{scheme}://127.0.0.1:{silent_port}//")
    since = time.monotonic()
    assert send_hint("training.tasks.supervise_run", "1", queue="nobody-listens") is False
    # Far beyond the bound, and far below "for ever": this asks whether it hangs, not how fast it is.
    assert time.monotonic() - since < 20 * SEND_SECONDS


def test_a_broker_folder_that_cannot_be_written_does_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    file = str(tmp_path / "file")
    use_broker(monkeypatch, "filesystem://", data_folder_in=file, data_folder_out=file, control_folder=file)
    run = create_run(kind="sample", spec=SPEC)
    run.refresh_from_db()
    assert (run.state, run.sent_at) == ("queued", None)


def test_a_log_is_read_part_by_part_without_breaking_characters(make_run: MakeRun) -> None:
    run = make_run()
    assert read_log(run).text == ""
    text = "loss é 0.5 → 日本 🙂\n" * 5
    (run_folder(run) / "log.txt").write_text(text, encoding="utf-8")
    for limit in range(4, 12):
        parts, offset = [], 0
        while (part := read_log(run, offset=offset, limit=limit)).text:
            parts.append(part.text)
            offset = part.next_offset
        assert "".join(parts) == text
        assert offset == part.size == len(text.encode())


def test_the_end_of_a_log_is_read_by_a_negative_offset(make_run: MakeRun) -> None:
    run = make_run()
    (run_folder(run) / "log.txt").write_text("first\nlast\n")
    assert read_log(run, offset=-5).text == "last\n"
    assert read_log(run, offset=-500).text == "first\nlast\n"
    assert read_log(run, offset=500).text == ""


def test_bytes_that_are_no_text_do_not_stop_a_log(make_run: MakeRun) -> None:
    run = make_run()
    (run_folder(run) / "log.txt").write_bytes(b"\xff\xfe\xf0" * 40)
    offset = 0
    while (part := read_log(run, offset=offset, limit=7)).text:
        assert part.next_offset > offset
        offset = part.next_offset
    assert offset == 120


def test_an_artifact_is_found_only_inside_the_runs_folder(make_run: MakeRun) -> None:
    run = make_run()
    (run_folder(run) / "adapter").mkdir()
    for name, path in (("adapter", "adapter"), ("escape", "../../secret_key"), ("gone", "gone")):
        Artifact.objects.create(run=run, name=name, path=path, sha256="0" * 64)
    assert artifact_path(run, "adapter") == (run_folder(run) / "adapter").resolve()
    for name in ("escape", "gone", "unheard-of"):
        with pytest.raises(Refusal) as refused:
            artifact_path(run, name)
        assert refused.value.code == "not_found"
