"""Where a member stands: what they may be given, whether they are paused, and whether they have qualified.

What changes a standing locks the annotator first, as assigning does: a place is leased before a pause, and given back
by it, or not leased at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction
from django.utils import timezone

from annotation import leasing
from annotation.models import Assignment, Batch, Membership, Project, Skip, User
from annotation.projects import Role, add_member, require_role
from annotation.qualification_places import can_be_given
from annotation.refusals import Refusal, require_storable

LONGEST_REASON = 300
MOST_LIMITS = 50
LONGEST_LIMIT = 100


def standing_of(user: User, project: Project) -> Membership:
    """The user's membership; for a superuser who is no member, a manager's that is not stored.

    Raises:
        Refusal: they are no member.
    """
    held = Membership.objects.filter(project=project, user=user).first() if user.is_active else None
    if held is None:
        require_role(user=user, project=project, role=Role.ANNOTATOR)
        return Membership(project=project, user=user, role=Role.MANAGER)
    held.user, held.project = user, project
    return held


def take_turns(user: User, project: Project) -> Membership:
    """As ``standing_of``, and what one person does in several tabs is done in turn from here to the end of the
    transaction: the user's row is locked, which comes before any other lock.

    Raises:
        Refusal: they are no member.
    """
    # Two statements: what is read in the one that waits for the lock is as it was before the wait, and a pause that was
    # waited for must be seen.
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)
    return standing_of(user, project)


def is_measured(member: Membership) -> bool:
    """Whether known answers measure them: those who only rank. Reviewers and managers can look the answers up."""
    return member.role == Role.ANNOTATOR and not member.user.is_superuser


def must_qualify(member: Membership, batches: Iterable[Batch]) -> bool:
    """Whether they rank the tasks of a qualification batch before all others.

    Args:
        batches: the project's open ones.
    """
    return bool(exams_of(batches)) and member.qualified_at is None and is_measured(member)


def exams_of(batches: Iterable[Batch]) -> list[Batch]:
    """Of the project's open batches, the qualification batches."""
    return [batch for batch in batches if batch.kind == Batch.Kind.QUALIFICATION]


def has_had_of(annotator: User | int, batches: Iterable[Batch]) -> bool:
    """Whether the annotator ranked, passed by or holds a task of these batches."""
    of_them = {"annotator": annotator, "task__batch__in": list(batches)}
    return Assignment.objects.filter(**of_them).exists() or Skip.objects.filter(**of_them).exists()


def open_batches(project: Project) -> list[Batch]:
    """The project's open batches of every kind, in the order in which they are handed out."""
    return list(
        project.batches.filter(state=Batch.State.OPEN)
        .only("pk", "project", "kind", "order", "control_share", "max_per_annotator", "priority")
        .order_by("-priority", "pk")
    )


def paused_sentence(member: Membership) -> str:
    """Why a paused member gets no tasks, and what to do, as they are told it."""
    return (
        f"You are paused in {member.project.name}, so no tasks are handed to you. "
        f"{member.pause_reason or 'A manager has paused you.'} All that you ranked is kept. Read the guidelines "
        "again, and ask a manager of the project to lift the pause."
    )


def require_not_paused(member: Membership) -> None:
    """Refuse, with the code ``forbidden``, a member who is paused."""
    if member.paused_at is not None:
        raise Refusal("forbidden", paused_sentence(member))


@transaction.atomic
def set_limits(
    *,
    project: Project,
    user: User,
    languages: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Membership:
    """Say which prompts a member is given to rank, from their next task on. None leaves a limit as it is.

    Args:
        languages: prompts in one of these, and prompts without a language; ``en`` stands for ``en-GB`` as well.
        tags: prompts with one of these, and prompts without tags. Either empty: all.

    Raises:
        Refusal: they are no member; a limit is no text, empty or too long, or there are too many.
    """
    member = _locked(project, user)
    if languages is not None:
        member.languages = [each.lower() for each in _checked(languages, "languages")]
    if tags is not None:
        member.tags = _checked(tags, "tags")
    member.save(update_fields=["languages", "tags"])
    return member


@transaction.atomic
def pause_member(*, project: Project, user: User, reason: str = "") -> Membership:
    """Hand them no more tasks; what they hold is open for others at once, and what they submitted stays.

    Args:
        reason: what they and the managers are told; at most 300 characters. Pausing again changes it.

    Raises:
        Refusal: they are no member, or the reason is too long or no text.
    """
    reason = reason.strip()
    require_storable(reason, "The reason", field="pause_reason")
    if len(reason) > LONGEST_REASON:
        raise Refusal(
            "invalid",
            f"The reason has {len(reason)} characters; {LONGEST_REASON} are allowed.",
            field="pause_reason",
        )
    member = _locked(project, user)
    member.paused_at, member.pause_reason = member.paused_at or timezone.now(), reason
    member.save(update_fields=["paused_at", "pause_reason"])
    leasing.release_all(Assignment.objects.filter(annotator=user, batch__project=project))
    return member


@transaction.atomic
def lift_pause(*, project: Project, user: User) -> Membership:
    """Hand them tasks again, and measure them anew: gold tasks that they ranked before count no more.

    Somebody who has to qualify goes on with the qualification tasks that they have not had. Where none is left of those
    that they were tested by, the manager who lifts the pause answers for them: they are qualified. Who was never tested
    is not: a qualification that is open, or comes later, asks them.

    Raises:
        Refusal: they are no member.
    """
    member = _locked(project, user)
    if member.paused_at is not None:
        now = timezone.now()
        member.paused_at, member.pause_reason, member.measured_since = None, "", now
        batches = open_batches(project)
        exams = exams_of(batches)
        if must_qualify(member, batches) and has_had_of(user, exams) and not can_be_given(member, exams):
            member.qualified_at = now
        member.save(update_fields=["paused_at", "pause_reason", "qualified_at", "measured_since"])
    return member


@transaction.atomic
def set_qualified(*, project: Project, user: User, qualified: bool) -> Membership:
    """Let them rank without the qualification tasks; or, where not ``qualified``, ask them to do those that they have
    not done first. Gold tasks count from now on.

    Raises:
        Refusal: they are no member.
    """
    member = _locked(project, user)
    now = timezone.now()
    member.qualified_at, member.measured_since = now if qualified else None, now
    member.save(update_fields=["qualified_at", "measured_since"])
    return member


@transaction.atomic
def change_member(
    *,
    project: Project,
    user: User,
    role: str | None = None,
    languages: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    paused: bool | None = None,
    pause_reason: str | None = None,
    qualified: bool | None = None,
) -> Membership:
    """Change what is given of a membership, all of it or nothing. None leaves a part as it is.

    Args:
        pause_reason: goes with ``paused``.

    Raises:
        Refusal: as of ``add_member``, ``set_limits``, ``pause_member`` and ``set_qualified``; or a reason comes without
            a pause.
    """
    if pause_reason is not None and not paused:
        raise Refusal(
            "invalid", "A reason goes with a pause: send `paused` true with it.", field="pause_reason"
        )
    if role is not None:
        add_member(project=project, user=user, role=role)
    member = set_limits(project=project, user=user, languages=languages, tags=tags)
    if qualified is not None:
        member = set_qualified(project=project, user=user, qualified=qualified)
    if paused is not None:
        member = (
            pause_member(project=project, user=user, reason=pause_reason or "")
            if paused
            else lift_pause(project=project, user=user)
        )
    return member


def _locked(project: Project, user: User) -> Membership:
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    member = Membership.objects.select_related("user", "project").filter(project=project, user=user).first()
    if member is None:
        raise Refusal("not_found", f"{user} is no member of {project.name}.", field="user")
    return member


def _checked(limits: Sequence[str], field: str) -> list[str]:
    def wrong(sentence: str) -> Refusal:
        return Refusal("invalid", sentence, field=field)

    if isinstance(limits, str) or not all(isinstance(each, str) for each in limits):
        raise wrong(f"{field.capitalize()} must be a list of texts.")
    require_storable(list(limits), f"One of the {field}", field=field)
    found = list(dict.fromkeys(each.strip() for each in limits))
    if len(found) > MOST_LIMITS:
        raise wrong(f"There are {len(found)} {field}; {MOST_LIMITS} are allowed. Leave it empty for all.")
    for each in found:
        if not 0 < len(each) <= LONGEST_LIMIT:
            raise wrong(f"Each of the {field} has 1 to {LONGEST_LIMIT} characters, not {len(each)}.")
    return found
