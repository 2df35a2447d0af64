"""A run ends once, as it should or with an honest failure, whatever happens to its process and its supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import psutil
import pytest
from django.utils import timezone

from tests.training.conftest import (
    InThread,
    MakeRun,
    assert_done_once,
    starts,
    steps_measured,
    wait_for,
)
from training import child, claiming, supervising, sweeping
from training.launching import cancel_run, read_log, run_folder
from training.models import Run
from training.shutdown import WORKER_STOPS
from training.signals import run_ended
from training.supervising import supervise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def started(run: Run, count: int = 1) -> int:
    """Wait for the run's engine to be at work, and return its process number."""
    wait_for(lambda: len(starts(run)) >= count and steps_measured(run), f"start {count}")
    return starts(run)[-1]


def lose(run: Run) -> None:
    """What the row looks like once the lease of a lost worker has run out."""
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_run_succeeds_with_its_figures_and_artifacts(make_run: MakeRun) -> None:
    run = make_run()
    supervise(run.pk)
    assert_done_once(run, steps=8)
    assert run.ended_at is not None and run.lease_until is None
    assert "Claim 1" in read_log(run).text


def test_a_message_that_comes_twice_runs_it_once(make_run: MakeRun) -> None:
    run = make_run(seconds=0.1)
    with InThread(run):
        started(run)
        supervise(run.pk)
    assert_done_once(run, steps=8)
    assert len(starts(run)) == 1


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_message_that_comes_after_the_end_does_nothing(make_run: MakeRun, state: str) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(state=state)
    before = Run.objects.values().get(pk=run.pk)
    supervise(run.pk)
    assert Run.objects.values().get(pk=run.pk) == before
    assert starts(run) == []


def test_a_message_for_a_run_that_does_not_exist_does_nothing() -> None:
    supervise("00000000-0000-0000-0000-000000000000")


def test_a_killed_engine_is_resumed_and_finishes_once(make_run: MakeRun) -> None:
    run = make_run(steps=20, seconds=0.05)
    ended = []
    listen = lambda run, **kwargs: ended.append(run.pk)  # noqa: E731
    run_ended.connect(listen)
    try:
        with InThread(run):
            os.kill(started(run), signal.SIGKILL)
        run.refresh_from_db()
        assert run.state == "queued"
        assert "SIGKILL" in run.reason
        supervise(run.pk)
    finally:
        run_ended.disconnect(listen)
    assert_done_once(run, steps=20)
    assert len(starts(run)) == 2
    assert ended == [run.pk]


def test_a_run_that_always_dies_fails_and_says_how(make_run: MakeRun) -> None:
    run = make_run(raise_at=3, checkpoint_every=10)
    for _ in range(10):
        supervise(run.pk)
    run.refresh_from_db()
    assert run.state == "failed"
    assert run.attempts == run.max_attempts
    assert "3 times in a row" in run.reason
    assert "exit code 1: RuntimeError: the cat sat on step 3" in run.reason
    # The first claim got somewhere, the others no further.
    assert len(starts(run)) == 1 + run.max_attempts


def test_a_long_run_that_is_interrupted_often_goes_on_to_its_end(make_run: MakeRun) -> None:
    run = make_run(steps=8, raise_at=2, once=True)
    script = run_folder(run) / "script.json"
    for step in range(2, 8):
        script.write_text(json.dumps({"steps": 8, "die_at": step}))
        supervise(run.pk)
        assert Run.objects.get(pk=run.pk).state == "queued"
    script.write_text(json.dumps({"steps": 8}))
    supervise(run.pk)
    assert_done_once(run, steps=8)
    assert len(starts(run)) == 7 > run.max_attempts


@pytest.mark.parametrize(
    "noise",
    [
        "/opt/venv/lib/x.py:3: FutureWarning: `a` is deprecated\n  warnings.warn(\n",
        "Map:  42%|████      | 42/100 [00:01<00:02, 20.1it/s]\n",
        "Failed to load CPU gemm_4bit_forward from kernels-community: no kernels\n",
    ],
)
def test_last_words_are_none_of_a_librarys(make_run: MakeRun, noise: str) -> None:
    run = make_run(prints=f"Loading the model.\n{noise}", die_at=1)
    supervise(run.pk)
    run.refresh_from_db()
    assert run.reason.endswith("Last words: Loading the model.")


def test_a_refused_run_fails_at_once_with_the_engines_sentence(make_run: MakeRun) -> None:
    run = make_run(refuse="`data.prompts` holds no prompts.")
    supervise(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("failed", "`data.prompts` holds no prompts.")
    assert len(starts(run)) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"spoil": True}, "SHA-256"),
        ({"say_end": False}, "without saying that it succeeded"),
        ({"code": 3}, "exit code 3"),
    ],
)
def test_a_result_that_does_not_check_out_is_not_a_success(
    make_run: MakeRun, script: dict, words: str
) -> None:
    run = make_run(**script)
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == "queued"
    assert words in run.reason


def test_a_waiting_run_is_cancelled_at_once(make_run: MakeRun) -> None:
    run = make_run()
    assert cancel_run(run_id=run.pk, reason="Nobody needs it.").state == "cancelled"
    supervise(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, starts(run)) == ("cancelled", "Nobody needs it.", [])


@pytest.mark.parametrize("deaf", [False, True])
def test_a_running_run_is_cancelled_even_if_its_engine_is_deaf(make_run: MakeRun, deaf: bool) -> None:
    run = make_run(steps=10_000, deaf=deaf)
    with InThread(run):
        pid = started(run)
        assert cancel_run(run_id=run.pk, reason="Nobody needs it.").state == "running"
    run.refresh_from_db()
    assert (run.state, run.reason) == ("cancelled", "Nobody needs it.")
    assert not alive(pid)


def test_an_engine_that_hangs_is_stopped_and_the_run_goes_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "SILENCE_SECONDS", 3.0)
    run = make_run(hang_at=4, once=True)
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == "queued"
    assert "said nothing" in run.reason
    supervise(run.pk)
    assert_done_once(run, steps=8)


def test_a_run_that_has_ended_stays_as_it_is_when_it_is_cancelled(make_run: MakeRun) -> None:
    run = make_run()
    supervise(run.pk)
    cancel_run(run_id=run.pk, reason="Too late.")
    assert_done_once(run, steps=8)


def test_a_supervisor_that_lost_its_claim_kills_its_engine_and_writes_nothing(make_run: MakeRun) -> None:
    run = make_run(steps=10_000)
    with InThread(run):
        pid = started(run)
        Run.objects.filter(pk=run.pk).update(token=100, worker="elsewhere:1")
        stolen = Run.objects.values().get(pk=run.pk)
        measured = len(steps_measured(run))
    assert not alive(pid)
    assert Run.objects.values().get(pk=run.pk) == stolen
    assert len(steps_measured(run)) == measured


def test_a_supervisor_lost_between_the_last_event_and_the_end_costs_no_second_start(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def die(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt  # nothing catches it, as nothing catches SIGKILL

    with monkeypatch.context() as patched:
        patched.setattr(supervising, "move", die)
        with pytest.raises(KeyboardInterrupt):
            supervise(run.pk)
    assert Run.objects.get(pk=run.pk).state == "running"
    lose(run)
    sweeping.sweep()
    supervise(run.pk)
    assert_done_once(run, steps=8)
    assert len(starts(run)) == 1


def test_a_new_claim_does_not_begin_before_the_old_engine_is_gone(make_run: MakeRun) -> None:
    # Given an engine that does not listen and whose supervisor was lost.
    run = make_run(steps=100_000, deaf=True)
    folder = run_folder(run)
    (folder / "spec.json").write_text(json.dumps({"output": str(folder), "lease": None}))
    orphan = subprocess.Popen(
        [sys.executable, "-m", "tests.training.scripted_engine", folder / "spec.json"], start_new_session=True
    )
    try:
        wait_for(lambda: (folder / "checkpoint").exists(), "the old engine's first checkpoint")
        record = {
            "host": child.socket.gethostname(),
            "pid": orphan.pid,
            "started": psutil.Process(orphan.pid).create_time(),
        }
        (folder / child.CHILD_FILE).write_text(json.dumps(record))
        done = int((folder / "checkpoint").read_text())
        (folder / "script.json").write_text(json.dumps({"steps": done + 200, "seconds": 0.001}))
        # When the run is claimed anew, then the old engine is killed before the new one starts.
        supervise(run.pk)
    finally:
        orphan.kill()
        assert orphan.wait() == -signal.SIGKILL
    run.refresh_from_db()
    assert (run.state, run.reason) == ("succeeded", "")
    assert not (folder / "overlap").exists()


def test_a_process_that_only_has_the_old_engines_number_is_left_alone(make_run: MakeRun) -> None:
    run = make_run()
    record = {"host": child.socket.gethostname(), "pid": os.getpid(), "started": time.time() - 10**6}
    (run_folder(run) / child.CHILD_FILE).write_text(json.dumps(record))
    supervise(run.pk)
    assert_done_once(run, steps=8)


def test_an_engine_on_another_host_is_waited_for_until_its_lease_has_run_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "OTHER_HOST_SECONDS", 0.5)
    monkeypatch.setattr(claiming, "LEASE_SECONDS", 2.0)
    run = make_run()
    folder = run_folder(run)
    until = (
        time.time() + claiming.LEASE_SECONDS + 1
    )  # longer than a lease, so it must be renewed while waiting
    (folder / child.CHILD_FILE).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 1.0}))
    child.write_lease(folder, token=7, until=until)
    supervise(run.pk)
    assert_done_once(run, steps=8)
    first_event = json.loads((folder / "events.jsonl").read_text().split("\n")[0])
    assert first_event["time"] > until + child.OTHER_HOST_SECONDS


def test_a_worker_that_shuts_down_stops_the_run_at_a_checkpoint_and_hands_it_back(make_run: MakeRun) -> None:
    run = make_run(steps=100, seconds=0.05)
    with InThread(run):
        pid = started(run)
        WORKER_STOPS.set()
    run.refresh_from_db()
    assert (run.state, run.attempts, run.sent_at) == ("queued", 0, None)
    assert "shut down" in run.reason
    assert not alive(pid)
    supervise(run.pk)
    assert Run.objects.get(pk=run.pk).state == "queued", "A worker that shuts down begins nothing."
    WORKER_STOPS.clear()
    done = int((run_folder(run) / "checkpoint").read_text())
    (run_folder(run) / "script.json").write_text(json.dumps({"steps": done + 3}))
    supervise(run.pk)
    assert_done_once(run, steps=done + 3)


def test_the_lease_is_renewed_in_the_row_and_in_the_file(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "LEASE_SECONDS", 6.0)
    run = make_run(steps=10_000)
    lease_file = run_folder(run) / "lease.json"
    with InThread(run):
        pid = started(run)
        row, file = Run.objects.get(pk=run.pk).lease_until, json.loads(lease_file.read_text())
        wait_for(lambda: Run.objects.get(pk=run.pk).lease_until > row, "the row's lease to be renewed")
        wait_for(lambda: json.loads(lease_file.read_text())["until"] > file["until"], "the file's lease")
        assert json.loads(lease_file.read_text())["token"] == 1
        assert (
            json.loads(lease_file.read_text())["until"] <= Run.objects.get(pk=run.pk).lease_until.timestamp()
        )
        assert alive(pid)
        cancel_run(run_id=run.pk, reason="Seen enough.")


def test_a_fault_of_the_supervisor_ends_in_an_honest_failure(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def no_such_program(spec: object) -> list[str]:
        return ["/nowhere/python", str(spec)]

    monkeypatch.setattr(child, "engine_command", no_such_program)
    for _ in range(run.max_attempts):
        supervise(run.pk)
    run.refresh_from_db()
    assert run.state == "failed"
    assert "/nowhere/python" in run.reason


def test_the_engine_gets_no_secret_but_the_key_of_its_endpoint(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "RANKLOOP_SECRET_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "OTHER_API_KEY",
        "ENDPOINT_API_KEY",
        "DATABASE_URL",
        "RANKLOOP_EMAIL_URL",
    ):
        monkeypatch.setenv(name, "confidential")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:confidential@nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    run = make_run()
    run.spec["endpoint"]["api_key_env"] = "ENDPOINT_API_KEY"
    run.save()
    supervise(run.pk)
    seen = json.loads((run_folder(run) / "environment.json").read_text())
    assert [name for name, value in seen.items() if "confidential" in value] == ["ENDPOINT_API_KEY"]
    assert seen["CUDA_VISIBLE_DEVICES"] == "0"
    assert (seen["OMP_WAIT_POLICY"], seen["HF_HUB_DISABLE_TELEMETRY"]) == ("PASSIVE", "1")


@pytest.mark.parametrize(
    "secret",
    ["MY_TOKEN", "TOKEN_X", "AUTHTOKEN", "my_token", "TOKENS", "TOKEN2", "PGPASSWORD", "MY_APIKEY", "X_DSN"],
)
def test_names_of_secrets_are_known_and_the_tokenizers_settings_are_none_of_them(secret: str) -> None:
    inherited = {secret: "confidential", "TOKENIZERS_PARALLELISM": "true", "HF_TOKEN": "for gated models"}
    given = child.engine_variables({}, inherited)
    assert secret not in given
    assert {name: given[name] for name in inherited if name in given} == {
        "TOKENIZERS_PARALLELISM": "true",
        "HF_TOKEN": "for gated models",
    }
