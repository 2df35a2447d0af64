"""Projects and their people: who may do what where."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.text import slugify

from annotation import leasing
from annotation.models import Aspect, Assignment, Membership, Project, User
from annotation.refusals import Refusal, refusing_taken
from annotation.rubrics import add_rubric

logger = logging.getLogger(__name__)

Role = Membership.Role
USERNAME = re.compile(r"[\w.@+-]+")
"""What Django's accounts may be called."""

ROLES = [Role.ANNOTATOR, Role.REVIEWER, Role.MANAGER]
"""Each may do what those before it may."""

CHANGEABLE = (
    "name",
    "description",
    "guidelines",
    "held_out_share",
    "allow_ties",
    "allow_partial",
    "ask_strength",
    "lease_minutes",
    "review_share",
    "gold_share",
    "gold_bar",
)


def may_create_projects(user: User | AnonymousUser) -> bool:
    """Whether the user may make projects: administrators and staff; everybody with an account, if the installation
    says so (``RANKLOOP_ANYONE_CREATES_PROJECTS``), since who makes a project is its manager and has runs carried out.
    """
    if not user.is_active:
        return False
    return user.is_staff or user.is_superuser or django_settings.RANKLOOP_ANYONE_CREATES_PROJECTS


def require_may_create_projects(user: User | AnonymousUser) -> None:
    """Refuse, with the code ``forbidden``, a user who may not make projects."""
    if not may_create_projects(user):
        raise Refusal(
            "forbidden",
            "Only administrators make projects here. Ask one to make it and to give you the role of its manager.",
        )


@transaction.atomic
def create_project(
    *,
    name: str,
    description: str = "",
    guidelines: str = "",
    held_out_share: float = 0.2,
    rubric: str = "",
    created_by: User,
    **settings: Any,
) -> Project:
    """Make a project; ``created_by`` becomes its manager.

    Args:
        rubric: one of ``rubrics.RUBRICS``, whose aspects the project begins with; none unless given.
        settings: others of ``CHANGEABLE``.

    Raises:
        Refusal: the name is taken, or a field is wrong.
    """
    project = Project(
        name=name.strip(), description=description, guidelines=guidelines, held_out_share=held_out_share
    )
    _set(project, settings)
    project.slug = _free_slug(project.name)
    _check(project)
    with _refusing_taken_name(project):
        project.save()
    Membership.objects.create(project=project, user=created_by, role=Role.MANAGER)
    if rubric:
        add_rubric(project=project, rubric=rubric)
    return project


@transaction.atomic
def update_project(*, project: Project, archived: bool | None = None, **changes: Any) -> Project:
    """Change a project's fields (``CHANGEABLE``); ``archived`` puts it away or brings it back.

    Raises:
        Refusal: a field is wrong, the name is taken, or the held-out share would change under existing prompts.
    """
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    share = changes.get("held_out_share", locked.held_out_share)
    if share != locked.held_out_share and locked.prompts.exists():
        raise Refusal(
            "conflict",
            f"The held-out share of {locked.name} is fixed at {locked.held_out_share:g} since it has prompts: a prompt "
            "stays in its split for ever. Make a new project for another share.",
            field="held_out_share",
        )
    _set(locked, changes)
    if archived is not None:
        locked.archived_at = (locked.archived_at or timezone.now()) if archived else None
    _check(locked)
    with _refusing_taken_name(locked):
        locked.save()
    return locked


@transaction.atomic
def set_aspects(*, project: Project, aspects: Iterable[Mapping[str, Any]]) -> list[Aspect]:
    """Make ``aspects`` the project's rubric, in this order.

    Args:
        aspects: ``{"name", "question", "steps"}`` each; ``steps`` from 2 to 10, 5 unless given.

    Raises:
        Refusal: a field is wrong, a name stands twice, or an aspect that has ratings would go or change its steps.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    existing = {aspect.name: aspect for aspect in project.aspects.all()}
    kept: dict[str, Aspect] = {}
    for position, row in enumerate(aspects):
        name = str(row.get("name", ""))
        if name in kept:
            raise Refusal("invalid", f"The aspect {name} stands twice; names must differ.", field="aspects")
        aspect = existing.pop(name, None) or Aspect(project=project, name=name)
        steps = row.get("steps", 5)
        if aspect.pk and steps != aspect.steps and aspect.ratings.exists():
            raise Refusal(
                "conflict",
                f"The aspect {name} has ratings on {aspect.steps} steps, which stay.",
                field="aspects",
            )
        aspect.question, aspect.steps, aspect.position = str(row.get("question", "")), steps, position
        _check(aspect, field="aspects")
        aspect.save()
        kept[name] = aspect
    for aspect in existing.values():
        if aspect.ratings.exists():
            raise Refusal("conflict", f"The aspect {aspect.name} has ratings and stays.", field="aspects")
        aspect.delete()
    return list(kept.values())


@transaction.atomic
def add_member(*, project: Project, user: User, role: str) -> Membership:
    """Make ``user`` a member, or give a member another role.

    Raises:
        Refusal: no such role, or the project's last manager would lose theirs.
    """
    _require_role_exists(role)
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if role != Role.MANAGER:
        _keep_a_manager(project, user)
    return Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})[0]


@transaction.atomic
def invite(
    *, project: Project, username: str, email: str = "", role: str, by: User
) -> tuple[Membership, str]:
    """Make an account for somebody who has none, and make them a member.

    Nothing of an account that is there can be changed in this way: neither its password nor its name or address.

    Args:
        by: the manager who makes it; it stands in the log.

    Returns:
        The membership, and the account's temporary password, of which only a hash is kept.

    Raises:
        Refusal: no such role; the name or the address is malformed, or belongs to an account.
    """
    _require_role_exists(role)
    # People log in by either, in any case of letters: who has a name or an address has it alone.
    for field, said, value in (("username", "name", username), ("email", "e-mail address", email)):
        if value and User.objects.filter(Q(username__iexact=value) | Q(email__iexact=value)).exists():
            raise Refusal(
                "conflict",
                f"The {said} {value:.254} belongs to an account already. Add the person by it, or choose another.",
                field=field,
            )
    password = temporary_password()
    user = create_user(username=username, password=password, email=email)
    membership = add_member(project=project, user=user, role=role)
    logger.info("The account %s was made by %s, as %s of %s", user, by, role, project.slug)
    return membership, password


def temporary_password() -> str:
    """A random password of 79 bits, without characters that are easily taken for another."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


@transaction.atomic
def remove_member(*, project: Project, user: User) -> None:
    """End a membership. What the person ranked stays; places leased to them are open again.

    Raises:
        Refusal: they are no member, or the last manager.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    # As what is leased to them: a place is leased before they go, and opened here, or not leased at all.
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)
    _keep_a_manager(project, user)
    if not Membership.objects.filter(project=project, user=user).delete()[0]:
        raise Refusal("not_found", f"{user} is no member of {project.name}.", field="user")
    leasing.release_all(Assignment.objects.filter(annotator=user, batch__project=project))


def role_of(user: User | AnonymousUser, project: Project) -> Membership.Role | None:
    """The user's role in the project, or None. Superusers are managers everywhere; inactive users are nobody."""
    return _role(
        user, Membership.objects.filter(project=project, user=user.pk).values_list("role", flat=True).first()
    )


def find_project(
    *, user: User | AnonymousUser, slug: str = "", pk: int | None = None
) -> tuple[Project, Membership.Role | None]:
    """The project of that slug or primary key and the user's role in it, as ``role_of``: in one statement, since every
    page and every answer asks.

    Raises:
        Project.DoesNotExist: there is none.
    """
    found = Project.objects.raw(
        "SELECT project.*, membership.role AS held FROM annotation_project project "  # noqa: S608 - no input is spliced in
        "LEFT JOIN annotation_membership membership ON membership.project_id = project.id AND membership.user_id = %s "
        f"WHERE project.{'slug' if pk is None else 'id'} = %s",
        [user.pk, slug if pk is None else pk],
    )
    for project in found:
        return project, _role(user, project.held)  # type: ignore[attr-defined]
    raise Project.DoesNotExist


def require_role(*, user: User | AnonymousUser, project: Project, role: str) -> None:
    """Refuse, with the code ``forbidden``, a user who is less than ``role`` in the project."""
    require(role_of(user, project), role, project)


def _role(user: User | AnonymousUser, held: str | None) -> Membership.Role | None:
    if not user.is_active:
        return None
    if user.is_superuser:
        return Role.MANAGER
    return Role(held) if held else None


def require(held: Membership.Role | None, role: str, project: Project) -> None:
    """Refuse, with the code ``forbidden``, somebody whose role in the project is ``held``, less than ``role``."""
    if held is None or ROLES.index(held) < ROLES.index(Role(role)):
        raise Refusal(
            "forbidden",
            f"This needs the role of {Role(role).value} in {project.name}; "
            + (f"yours is {held.value}." if held else "you are no member.")
            + " Ask a manager of the project.",
        )


def projects_of(user: User | AnonymousUser) -> QuerySet[Project]:
    """The projects that the user may see: those they are a member of; all, for a superuser."""
    if not user.is_active:
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(memberships__user=user.pk)


@transaction.atomic
def create_user(
    *, username: str, password: str | None = None, email: str = "", superuser: bool = False
) -> User:
    """Make an account. Without a password it can log in only by single sign-on or API token.

    Raises:
        Refusal: the name is taken or malformed, the e-mail address is malformed, or the password is too weak.
    """
    user = User(username=username, email=email, is_superuser=superuser, is_staff=superuser)
    if username and not USERNAME.fullmatch(username):
        raise Refusal(
            "invalid",
            f"A user name is one word of letters, digits and @ . + - _, not {username!r:.80}.",
            field="username",
        )
    _check(user, exclude=["password"])
    if password is None:
        user.set_unusable_password()
    else:
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise Refusal("invalid", " ".join(error.messages), field="password") from error
        user.set_password(password)
    taken = "Username: A user with that username already exists."
    with refusing_taken({"annotation_user_username_key": taken}, field="username"):
        user.save()
    return user


def _require_role_exists(role: str) -> None:
    if role not in Role.values:
        raise Refusal(
            "invalid", f"A role is one of {', '.join(Role.values)}, not {role!r:.40}.", field="role"
        )


def _set(project: Project, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise TypeError(f"a project has no changeable field {name!r}")
        setattr(project, name, value)


def _check(thing: Project | Aspect | User, *, field: str = "", exclude: list[str] | None = None) -> None:
    try:
        thing.full_clean(exclude=exclude)
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        taken = any(e.code in ("unique", "unique_together") for e in error.error_dict[name])
        sentence = " ".join(messages)
        raise Refusal(
            "conflict" if taken else "invalid",
            f"{name.replace('_', ' ').capitalize()}: {sentence}" if name != "__all__" else sentence,
            field=field or (name if name != "__all__" else ""),
        ) from error


def _refusing_taken_name(project: Project) -> AbstractContextManager[None]:
    # Names that read alike share a slug, which is chosen before the write: the second at one moment asks again.
    sentences = {
        "annotation_project_name_key": "Name: Project with this Name already exists.",
        "annotation_project_slug_key": f"Name: A project whose name reads like {project.name} was made at the same "
        "moment; try again.",
    }
    return refusing_taken(sentences, field="name")


def _free_slug(name: str) -> str:
    stem = slugify(name)[:70] or "project"
    taken = set(Project.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    slug, number = stem, 1
    while slug in taken:
        number += 1
        slug = f"{stem}-{number}"
    return slug


def _keep_a_manager(project: Project, user: User) -> None:
    managers = set(project.memberships.filter(role=Role.MANAGER).values_list("user_id", flat=True))
    if managers == {user.pk}:
        raise Refusal("conflict", f"{user} is the last manager of {project.name}; make another one first.")
