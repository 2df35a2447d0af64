"""An import carried out by the process that claimed it: in one transaction, with signs of life beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import IO, Any
from uuid import NAMESPACE_OID, uuid5

from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from annotation.intake import files
from annotation.intake.bad_lines import BadLines
from annotation.intake.bringing import Brought, LinesWrong, bring_in
from annotation.intake.forms import form_named
from annotation.intake.jobs import LEASE_SECONDS, State, claim, held, send_next
from annotation.intake.settling import STEPS
from annotation.models import Import
from annotation.reading import read_rows
from annotation.refusals import LineError, Refusal

BEAT_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """The import was cancelled, or is another worker's by now. Nothing of it was kept."""


def carry_out(import_id: int, *, beside_others: bool = False) -> Import | None:
    """Carry out an import, if it still waits; return it as it ended, or None.

    All of it is kept in one transaction, which ends with the claim's last check: a worker that was lost, cancelled or
    killed leaves nothing.
    """
    job = claim(import_id, beside_others=beside_others)
    if job is None:
        return None
    try:
        with Pulse(job) as pulse:
            try:
                _bring(job, pulse)
            except Stopped:
                _end(job, State.CANCELLED, "It was cancelled; nothing was imported.")
            except LinesWrong as refusal:
                _end(job, State.FAILED, refusal.sentence, refusal.bad)
            except Refusal as refusal:
                _end(job, State.FAILED, refusal.sentence)
            except DatabaseError:
                if not pulse.stopped:
                    raise
                _end(job, State.CANCELLED, "It was cancelled; nothing was imported.")
    except Exception:
        logger.exception("import=%s failed", job.pk)
        _end(
            job,
            State.FAILED,
            "A fault of Rankloop stopped it, and nothing was imported. See the worker's log.",
        )
    ended = Import.objects.select_related("batch", "project").get(pk=job.pk)
    if ended.state == State.SUCCEEDED and ended.location:
        files.discard(ended.location)
        Import.objects.filter(pk=ended.pk).update(location="")
    send_next()
    return ended


def _bring(job: Import, pulse: Pulse) -> None:
    bad_location = ""
    try:
        with files.opened(job) as file, transaction.atomic():
            pulse.file = file
            brought = bring_in(
                project=job.project,
                name=job.name,
                rows=read_rows(file, job.file_name, typed=False),
                form=form_named(job.form),
                mapping=job.mapping,
                # Not the claim's: carried out anew after a loss, it brings the same.
                drawn_by=uuid5(NAMESPACE_OID, f"import:{job.pk}"),
                skip_bad=job.skip_bad,
                tell=pulse.tell,
            )
            # Foreign keys of millions of rows are checked while the claim can still be renewed, not in the commit.
            connection.check_constraints()
            bad_location = brought.bad.keep()
            if not _succeed(job, brought, bad_location):
                raise Stopped
    except BaseException:
        files.discard(bad_location)
        raise


def _succeed(job: Import, brought: Brought, bad_location: str) -> int:
    # Who cancels sets its sign on this row, so either it is seen here or the import is done.
    return (
        held(job)
        .filter(cancel_requested=False)
        .update(
            state=State.SUCCEEDED,
            reason="",
            phase="",
            lease_until=None,
            report=brought.report,
            bad=brought.bad.count,
            errors=_listed(brought.bad.listed),
            bad_location=bad_location,
            batch=brought.batch,
            ended_at=Now(),
        )
    )


def _end(job: Import, state: State, reason: str, bad: BadLines | None = None) -> None:
    bad = bad or BadLines()
    bad_location = bad.keep()
    ended = held(job).update(
        state=state,
        reason=reason,
        phase="",
        lease_until=None,
        errors=_listed(bad.listed),
        bad=bad.count,
        bad_location=bad_location,
        ended_at=Now(),
    )
    if not ended:
        files.discard(bad_location)


def _listed(lines: Iterable[LineError]) -> list[dict[str, Any]]:
    return [
        {"line": error.line, "field": _storable(error.field), "reason": _storable(error.reason)}
        for error in sorted(lines, key=lambda error: error.line)
    ]


def _storable(text: str) -> str:
    """A file may name its fields by what a database cannot hold."""
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


class Pulse:
    """A thread that renews the claim, tells how far the import is, and stops it where it is cancelled.

    It has a connection of its own: what the import writes is seen by nobody before it is all there.
    """

    def __init__(self, job: Import) -> None:
        self.job = job
        self.phase, self.done, self.total = "", 0, 0
        self.file: IO[bytes] | None = None
        self.stopped = False
        self.over = threading.Event()
        self.working: Any = None
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Pulse:
        connection.ensure_connection()
        self.working = connection.connection
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()

    def tell(self, phase: str, done: int) -> None:
        """Called by the import as it goes on. Raises Stopped where it is to stop."""
        if self.stopped:
            raise Stopped
        if phase == "Reading" and self.file is not None and not self.file.closed:
            self.phase, self.done, self.total = (
                phase,
                min(self.file.tell(), self.job.file_bytes),
                self.job.file_bytes,
            )
        else:
            self.phase, self.done, self.total = phase, done, STEPS

    def _beat(self) -> None:
        try:
            while not self.over.wait(BEAT_SECONDS):
                try:
                    self._renew()
                except DatabaseError as error:
                    logger.warning("import=%s could not renew its claim: %s", self.job.pk, error)
        finally:
            connection.close()

    def _renew(self) -> None:
        alive = (
            held(self.job)
            .filter(cancel_requested=False)
            .update(
                lease_until=Now() + timedelta(seconds=LEASE_SECONDS),
                phase=self.phase,
                done=self.done,
                total=self.total,
            )
        )
        # Not alive: cancelled or lost. Or done, while this waited for the row.
        if (
            alive
            or Import.objects.filter(pk=self.job.pk, token=self.job.token, state=State.SUCCEEDED).exists()
        ):
            return
        self.stopped = True
        # A statement over millions of rows would take its time before the import is asked again.
        if self.working is not None and not self.over.is_set():
            self.working.cancel()
