"""``python -m training.engine SPEC.json``: carry out one run. With ``--preflight`` before it: say what the run needs.

Exit codes: 0 done; 75 stopped at a checkpoint (resumable); 2 refused, trying again is useless; 1 failed,
trying again may help.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from training.engine.events import Events
from training.engine.files import is_full_disk
from training.engine.interrupt import Interrupt, Stopped
from training.engine.refusal import Refused, Unavailable
from training.engine.spec import Spec

ASK = "--preflight"
DONE, FAILED, REFUSED, STOPPED = 0, 1, 2, 75
# Read by libraries when they are imported, so set before any module of a kind is.
PROCESS_SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads of two processes on the same cores slow both down tenfold
    "TOKENIZERS_PARALLELISM": "false",  # forked data loaders deadlock with it
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",  # a log keeps every step of a bar that a terminal draws over
}
WAIT_FOR_OTHER_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Carry out the run of the spec file named on the command line; return the exit code."""
    asked_only, files = arguments[:1] == [ASK], [each for each in arguments if each != ASK]
    if len(files) != 1 or len(arguments) != 1 + asked_only:
        print(f"Usage: python -m training.engine [{ASK}] SPEC.json", file=sys.stderr)
        return REFUSED
    try:
        spec = Spec.read(files[0])
        if asked_only:
            settle_process()
            importlib.import_module("training.engine.asking").tell_needs(spec)
            return DONE
    except (Refused, Unavailable) as failure:
        print(failure, file=sys.stderr)
        return REFUSED if isinstance(failure, Refused) else FAILED
    # Under torchrun every process comes here; the first one speaks for the run and holds its folder.
    first = os.environ.get("RANK", "0") == "0"
    events = Events(spec.output, silent=not first)
    try:
        with (
            Interrupt(spec.lease) as interrupt,
            folder_to_itself(spec.output, interrupt) if first else nullcontext(),
        ):
            carry_out(spec, events, interrupt)
    except Stopped as stop:
        return _close(events, "stopped", STOPPED, log=f"Stopped: {stop}")
    except Refused as refusal:
        return _close(events, "refused", REFUSED, error=str(refusal))
    except Unavailable as failure:
        return _close(events, "crashed", FAILED, error=str(failure))
    except Exception as error:
        traceback.print_exc()
        sentence = f"The run crashed: {type(error).__name__}: {error}"
        if is_full_disk(error):
            sentence = (
                f"The disk is full ({error}). Make room for {spec.output} and for RANKLOOP_HOME, and start the run "
                "again: it goes on from its newest checkpoint."
            )
        return _close(events, "crashed", FAILED, error=sentence)
    return _close(events, "succeeded", DONE)


def carry_out(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Do what the spec says; the module of each kind is imported only now, since most of them need torch."""
    settle_process()
    module = "endpoint" if spec.endpoint is not None else {"sample": "sampling"}.get(spec.kind, spec.kind)
    importlib.import_module(f"training.engine.{module}").run(spec, events, interrupt)


def settle_process() -> None:
    """Set what libraries read when they are imported, where the environment does not say otherwise."""
    for name, value in PROCESS_SETTINGS.items():
        os.environ.setdefault(name, value)
    # They are for who maintains this, and the tests show them; in a run's log they look like something to do.
    warnings.filterwarnings("ignore", category=FutureWarning, module="(transformers|peft|trl|accelerate)")
    # It looks for a kernel on the Hub, which no run needs or may load, and says so at each start.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
        lambda record: "from kernels-community" not in str(record.msg)
    )


@contextmanager
def folder_to_itself(output: Path, interrupt: Interrupt) -> Iterator[None]:
    """Wait until no other process on this machine works in the run's folder, and keep others out.

    A process that lost its lease needs a moment to notice; until it has left, its partial output is not ours to resume.
    """
    with (output / ".lock").open("w") as lock:
        while True:
            interrupt.check()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                interrupt.wait(WAIT_FOR_OTHER_SECONDS)
        yield


def _close(events: Events, state: str, code: int, *, log: str = "", error: str = "") -> int:
    """Tell how the run ended, and return its exit code: it failed if that cannot even be told."""
    if error:
        print(error, file=sys.stderr)
    try:
        if log:
            events.log(log)
        if error:
            events.error(error)
        events.end(state)
    except Unavailable as failure:
        print(failure, file=sys.stderr)
        return code or FAILED
    return code


def leave_group() -> None:
    """End this process's part in a group of processes, if it has one.

    A process that exits while the group's threads still run aborts now and then, and torchrun then ends the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    import torch.distributed as group

    if group.is_initialized():
        group.destroy_process_group()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    leave_group()
    sys.exit(code)
