"""Imports as jobs: drafted with a preview, started, carried out once by whoever claims them, or cancelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from annotation.intake import files
from annotation.intake.forms import form_named
from annotation.intake.previewing import Preview, preview
from annotation.models import Import, Project, User
from annotation.reading import read_rows
from annotation.refusals import Refusal, require_storable
from config.hints import send_hint

LEASE_SECONDS = 30.0
"""A worker that was silent for so long is lost."""
LOSSES_AT_MOST = 3
KEPT_DAYS = 7
"""How long the files of drafts, and of imports that failed, are kept."""
ONE_AT_A_TIME = 7_264_101
"""The advisory lock under which imports are claimed."""

State = Import.State
WAITING = (State.QUEUED, State.RUNNING)
AGAIN = (State.DRAFT, State.FAILED, State.CANCELLED)


def draft_import(
    *,
    project: Project,
    created_by: User | None,
    pieces: Iterable[bytes],
    file_name: str,
    name: str = "",
    form: str = "",
    mapping: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
) -> tuple[Import, Preview]:
    """Store a file and say what would become of it. Nothing is brought in before ``start_import``.

    Args:
        pieces: the file's bytes.
        file_name: its endings tell the format.
        name: of the batch; unless given, the file's.
        form, mapping: as of ``previewing.preview``.
        skip_bad: whether bad lines are left out.

    Raises:
        Refusal: as ``previewing.preview``, or the name is no name. Then nothing is stored.
    """
    name = _checked_name(name or _stem(file_name))
    kept = files.keep(pieces, file_name)
    job = Import(
        project=project,
        created_by=created_by,
        name=name,
        file_name=file_name[:255],
        file_bytes=kept.size,
        sha256=kept.sha256,
        location=kept.location,
        skip_bad=skip_bad,
    )
    try:
        told = _look(job, form, mapping)
        job.save()
    except BaseException:
        files.discard(kept.location)
        raise
    return job, told


def change_import(
    job: Import,
    *,
    form: str | None = None,
    mapping: Mapping[str, Any] | None = None,
    name: str | None = None,
    skip_bad: bool | None = None,
) -> tuple[Import, Preview]:
    """Read a draft, or one that failed, in another way; what is None stays as it is.

    Another form without a mapping takes what its fields' names suggest.

    Raises:
        Refusal: as ``draft_import``, or it is being carried out or is done.
    """
    with transaction.atomic():
        job = _locked(job)
        _require(job, AGAIN, "changed")
        if name is not None:
            job.name = _checked_name(name)
        if skip_bad is not None:
            job.skip_bad = skip_bad
        if mapping is None and form in (None, job.form):
            mapping = job.mapping
        told = _look(job, job.form if form is None else form, mapping)
        job.save(update_fields=["form", "mapping", "name", "skip_bad"])
    return job, told


def look_at(job: Import, *, guess: bool = False) -> Preview:
    """The preview of an import whose file is kept; the import takes its form and mapping.

    Args:
        guess: take the mapping that the fields' names suggest, in place of the import's.

    Raises:
        Refusal: as ``previewing.preview``, or the file is not kept any more.
    """
    return _look(job, job.form, None if guess else job.mapping)


@transaction.atomic
def start_import(job: Import, *, skip_bad: bool | None = None) -> Import:
    """Have a draft carried out by a worker, or one that failed or was cancelled carried out anew.

    Args:
        skip_bad: whether bad lines are left out; None: as it was said before.

    Raises:
        Refusal: it is being carried out or done, a field of the mapping is missing, or its file is gone.
    """
    job = _locked(job)
    _require(job, AGAIN, "started")
    form_named(job.form).check(job.mapping)
    with files.opened(job):
        pass
    _queue(job, skip_bad)
    transaction.on_commit(
        partial(send_hint, "annotation.tasks.carry_out_import", job.pk, queue="default"), robust=True
    )
    return job


def _queue(job: Import, skip_bad: bool | None) -> None:
    if skip_bad is not None:
        job.skip_bad = skip_bad
    job.state, job.reason, job.phase, job.done, job.total = State.QUEUED, "", "", 0, 0
    job.report, job.bad, job.errors = None, 0, []
    transaction.on_commit(partial(files.discard, job.bad_location))
    job.bad_location = ""
    job.cancel_requested, job.losses, job.ended_at, job.started_at = False, 0, None, None
    job.save()


@transaction.atomic
def cancel_import(job: Import) -> Import:
    """Stop an import, or drop a draft: nothing of it is kept. Cancelling twice is cancelling once.

    Raises:
        Refusal: it is done.
    """
    job = _locked(job)
    if job.state == State.RUNNING:
        job.cancel_requested = True
        job.save(update_fields=["cancel_requested"])
        return job
    if job.state == State.CANCELLED:
        return job
    _require(job, (State.DRAFT, State.QUEUED, State.FAILED), "cancelled")
    for location in (job.location, job.bad_location):
        transaction.on_commit(partial(files.discard, location))
    job.location = job.bad_location = ""
    job.save(update_fields=["location", "bad_location"])
    _end(job, State.CANCELLED, "It was cancelled; nothing was imported.")
    return job


def claim(import_id: int, *, beside_others: bool = False) -> Import | None:
    """Take an import that is queued, for ``LEASE_SECONDS``; None if it is not there to be taken.

    Args:
        beside_others: take it even though another import is being carried out. Workers carry out one at a time in
            all, so that of their threads one is free for everything else.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
        busy = Import.objects.filter(state=State.RUNNING, lease_until__gt=Now())
        if not beside_others and busy.exists():
            return None
        taken = Import.objects.filter(pk=import_id, state=State.QUEUED).update(
            state=State.RUNNING,
            token=F("token") + 1,
            lease_until=Now() + timedelta(seconds=LEASE_SECONDS),
            started_at=Coalesce("started_at", Now()),
        )
    return Import.objects.select_related("project").get(pk=import_id) if taken else None


def held(job: Import) -> QuerySet[Import]:
    """The import's row, for as long as its claim holds."""
    return Import.objects.filter(pk=job.pk, token=job.token, state=State.RUNNING)


def sweep_imports() -> None:
    """Queue what lost its worker, send a message for what waits longest, and drop the files of what nobody starts."""
    lost = Import.objects.filter(state=State.RUNNING, lease_until__lt=Now())  # index import_due
    for pk in list(lost.values_list("pk", flat=True)):
        with transaction.atomic():
            job = lost.filter(pk=pk).select_for_update(skip_locked=True).first()
            if job is not None:
                _hand_back(job)
    send_next()
    _drop_old_files()


def send_next() -> None:
    """Send the message for the import that waits longest, if none is being carried out."""
    if not Import.objects.filter(state=State.RUNNING, lease_until__gt=Now()).exists():
        first = (
            Import.objects.filter(state=State.QUEUED)
            .order_by("created_at")
            .values_list("pk", flat=True)
            .first()
        )
        if first is not None:
            send_hint("annotation.tasks.carry_out_import", first, queue="default")


def _hand_back(job: Import) -> None:
    job.losses += 1
    if job.cancel_requested:
        _end(job, State.CANCELLED, "It was cancelled; nothing was imported.")
    elif job.losses >= LOSSES_AT_MOST:
        _end(
            job,
            State.FAILED,
            f"Its worker was lost {job.losses} times, and nothing was imported. See the worker's log, then start it "
            "again.",
        )
    else:
        job.state, job.lease_until, job.phase = State.QUEUED, None, ""
        job.save(update_fields=["state", "lease_until", "phase", "losses"])


def _end(job: Import, state: State, reason: str) -> None:
    job.state, job.reason, job.lease_until, job.phase = state, reason, None, ""
    job.save(update_fields=["state", "reason", "lease_until", "phase", "losses"])
    Import.objects.filter(pk=job.pk).update(ended_at=Now())


def _drop_old_files() -> None:
    old = Q(created_at__lt=Now() - timedelta(days=KEPT_DAYS), state=State.DRAFT) | Q(
        # One that succeeded has its file still where its worker died before it threw it away.
        ended_at__lt=Now() - timedelta(days=KEPT_DAYS),
        state__in=[State.FAILED, State.CANCELLED, State.SUCCEEDED],
    )
    for pk in list(Import.objects.filter(old).exclude(location="").values_list("pk", flat=True)):
        with transaction.atomic():
            # Looked at again under its lock: it may have been started anew meanwhile.
            for job in Import.objects.select_for_update().filter(old, pk=pk).exclude(location=""):
                files.discard(job.location)
                job.location = ""
                if job.state != State.SUCCEEDED:
                    files.discard(job.bad_location)
                    job.bad_location = ""
                job.save(update_fields=["location", "bad_location"])


def _look(job: Import, form: str, mapping: Mapping[str, Any] | None) -> Preview:
    with files.opened(job) as file:
        told = preview(
            project=job.project,
            rows=read_rows(file, job.file_name, typed=False),
            source=job.name,
            form=form,
            mapping=mapping,
        )
    job.form, job.mapping = told.form.name, told.mapping
    return told


def _locked(job: Import) -> Import:
    return Import.objects.select_for_update(of=("self",)).select_related("project").get(pk=job.pk)


def _require(job: Import, states: Collection[State], verb: str) -> None:
    if job.state not in states:
        how = "is being carried out" if job.state in WAITING else "is done"
        raise Refusal("conflict", f"This import {how}; it cannot be {verb}.")


def _checked_name(name: str) -> str:
    require_storable(name, "The name", field="name")
    name = name.strip()
    if not 1 <= len(name) <= 200:
        raise Refusal("invalid", f"The name must have 1 to 200 characters, not {len(name)}.", field="name")
    return name


def _stem(file_name: str) -> str:
    return file_name.split("/")[-1].split(".")[0][:200].strip() or "Import"
