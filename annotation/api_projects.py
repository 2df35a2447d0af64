"""REST: projects, their members and aspects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import projects, rubrics, standing
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Integer, Number, Text
from annotation.measuring import gold_result
from annotation.models import Aspect, Membership, Project, User
from annotation.qualifying import Qualification, qualifications_of
from annotation.refusals import Refusal

ROLE = Membership.Role.choices
RUBRIC = [(name, rubric.label) for name, rubric in rubrics.RUBRICS.items()]
RUBRIC_HELP = "Aspects to begin with: " + "; ".join(
    f"`{name}` ({rubric.names})" for name, rubric in rubrics.RUBRICS.items()
)
USERNAME_PATTERN = r"^[\w.@+-]+$"
MEASURES = ("gold_share", "gold_bar")
GOLD_SHARE_HELP = "Share of an annotator's tasks that come from the project's gold batches, unmarked."
GOLD_BAR_HELP = "Share of gold pairs that an annotator must order as is known, to begin and to go on."
NOT_TO_ANNOTATORS = "Annotators do not see it."


class AspectOut(serializers.ModelSerializer):
    class Meta:
        model = Aspect
        fields = ["name", "question", "steps"]


class ProjectOut(serializers.ModelSerializer):
    role = serializers.SerializerMethodField(help_text="The caller's role.")
    aspects = AspectOut(many=True)

    class Meta:
        model = Project
        fields = [
            "slug",
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
            "aspects",
            "role",
            "created_at",
            "archived_at",
        ]
        extra_kwargs = {
            "gold_share": {"required": False, "help_text": f"{GOLD_SHARE_HELP} {NOT_TO_ANNOTATORS}"},
            "gold_bar": {"required": False, "help_text": f"{GOLD_BAR_HELP} {NOT_TO_ANNOTATORS}"},
        }

    def to_representation(self, project: Project) -> dict[str, Any]:
        told = super().to_representation(project)
        # What measures them would only teach annotators to look out for it.
        hidden = MEASURES if told["role"] == Membership.Role.ANNOTATOR else ()
        return {name: value for name, value in told.items() if name not in hidden}

    @extend_schema_field(serializers.ChoiceField(choices=ROLE))
    def get_role(self, project: Project) -> str | None:
        return projects.role_of(self.context["request"].user, project)


class ProjectIn(Input):
    name = Text(max_length=200)
    description = Text(required=False, allow_blank=True, max_length=20_000)
    guidelines = Text(required=False, allow_blank=True, max_length=200_000, help_text="Markdown.")
    held_out_share = Number(
        required=False, min_value=0, max_value=0.9, help_text="Fixed once the project has prompts."
    )
    allow_ties = Flag(required=False)
    allow_partial = Flag(required=False)
    ask_strength = Flag(
        required=False, help_text="Whether annotators are asked how much better each tier is than the next."
    )
    lease_minutes = Integer(required=False, min_value=1, max_value=1440)
    review_share = Number(
        required=False,
        min_value=0,
        max_value=1,
        help_text="Share of complete tasks that reviewers look at whatever was answered.",
    )
    gold_share = Number(required=False, min_value=0, max_value=0.5, help_text=GOLD_SHARE_HELP)
    gold_bar = Number(required=False, min_value=0, max_value=1, help_text=GOLD_BAR_HELP)


class NewProjectIn(ProjectIn):
    rubric = Choice(choices=RUBRIC, required=False, help_text=RUBRIC_HELP)


class ProjectChange(ProjectIn):
    archived = Flag(required=False)


LANGUAGES_HELP = (
    "Of the prompts that they are given, besides those without one; `en` is `en-GB` as well. Empty: all."
)
TAGS_HELP = "One of these is on the prompts that they are given, besides those without tags. Empty: all."


class MemberOut(serializers.ModelSerializer):
    username = serializers.CharField(source="user.username")

    languages = serializers.ListField(child=serializers.CharField(), help_text=LANGUAGES_HELP)
    tags = serializers.ListField(child=serializers.CharField(), help_text=TAGS_HELP)
    measured_since = serializers.DateTimeField(
        allow_null=True, help_text="From when gold tasks count; null: all of theirs do."
    )
    qualification = serializers.SerializerMethodField(
        help_text="Whether an open qualification asks them first. `stranded`: it does, and has no task for them, so "
        "that they get nothing."
    )

    class Meta:
        model = Membership
        fields = [
            "username",
            "role",
            "languages",
            "tags",
            "qualification",
            "qualified_at",
            "measured_since",
            "paused_at",
            "pause_reason",
            "created_at",
        ]

    @extend_schema_field(serializers.ChoiceField(choices=[each.value for each in Qualification]))
    def get_qualification(self, member: Membership) -> str:
        known: dict[int, Qualification] = self.context["qualifications"]
        return known[member.user_id]


class GoldOut(serializers.Serializer):
    tasks = serializers.IntegerField(help_text="Gold tasks that count: the latest, at most 20.")
    share = serializers.FloatField(
        allow_null=True, help_text="Of their pairs, how many were ordered as is known; undecided ones half."
    )
    bar = serializers.FloatField(help_text="Below it, after five tasks, an annotator is paused.")


class NewMemberOut(MemberOut):
    password = serializers.CharField(
        required=False,
        help_text="Of an account that `create` made: temporary, and shown this once.",
    )

    class Meta(MemberOut.Meta):
        fields = [*MemberOut.Meta.fields, "password"]


class MemberIn(Input):
    username = Text(max_length=150)
    role = Choice(choices=ROLE)
    create = Flag(  # type: ignore[assignment]
        required=False, help_text="Make the account where there is none of that name."
    )
    email = Text(
        required=False, allow_blank=True, max_length=254, help_text="Of the account that `create` makes."
    )


class MemberChange(Input):
    role = Choice(choices=ROLE, required=False)
    languages = serializers.ListField(
        child=Text(max_length=standing.LONGEST_LIMIT),
        required=False,
        max_length=standing.MOST_LIMITS,
        help_text=LANGUAGES_HELP,
    )
    tags = serializers.ListField(
        child=Text(max_length=standing.LONGEST_LIMIT),
        required=False,
        max_length=standing.MOST_LIMITS,
        help_text=TAGS_HELP,
    )
    paused = Flag(
        required=False,
        help_text="Whether they are handed no tasks. `false` lifts a pause, and gold tasks count anew.",
    )
    pause_reason = Text(
        required=False,
        allow_blank=True,
        max_length=standing.LONGEST_REASON,
        help_text="Goes with `paused`; they are told it.",
    )
    qualified = Flag(
        required=False,
        help_text="`true`: they rank without qualification tasks; `false`: they first do those that they have not "
        "done.",
    )


class AspectIn(Input):
    name = Text(max_length=40)
    question = Text(max_length=300)
    steps = Integer(required=False, min_value=2, max_value=10)


class AspectsIn(Input):
    aspects = serializers.ListField(child=AspectIn(), max_length=rubrics.MOST_ASPECTS)


class RubricIn(Input):
    rubric = Choice(choices=RUBRIC, help_text=RUBRIC_HELP)


class ProjectsViewSet(ProjectViewSet):
    queryset = Project.objects.prefetch_related("aspects").order_by("name")
    serializer_class = ProjectOut
    project_path = ""
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[Project]:
        rows = self.resources()
        return (
            rows.none() if self.is_for_schema else rows.filter(pk__in=projects.projects_of(self.request.user))
        )

    def list(self, request: Request) -> Response:
        """The projects that the caller is a member of."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=NewProjectIn, responses={201: ProjectOut})
    def create(self, request: Request) -> Response:
        """Make a project; the caller becomes its manager."""
        given = NewProjectIn(data=request.data)
        given.is_valid(raise_exception=True)
        project = projects.create_project(created_by=self.caller, **given.validated_data)
        return Response(self.get_serializer(project).data, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, project: str) -> Response:
        """One project, with its guidelines and aspects."""
        return Response(self.get_serializer(self.project).data)

    @extend_schema(request=ProjectChange)
    def partial_update(self, request: Request, project: str) -> Response:
        """Change some fields; `archived` puts the project away or brings it back."""
        given = ProjectChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        changed = projects.update_project(project=self.project, **given.validated_data)
        return Response(self.get_serializer(changed).data)

    @extend_schema(request=AspectsIn, responses=ProjectOut)
    def set_aspects(self, request: Request, project: str) -> Response:
        """Make these the project's aspects, in this order. Aspects that have ratings stay."""
        given = AspectsIn(data=request.data)
        given.is_valid(raise_exception=True)
        projects.set_aspects(project=self.project, aspects=given.validated_data["aspects"])
        return self._anew()

    @extend_schema(request=RubricIn, responses=ProjectOut)
    def add_rubric(self, request: Request, project: str) -> Response:
        """Add those of a rubric's aspects that the project does not have. Those that it has stay as they are."""
        given = RubricIn(data=request.data)
        given.is_valid(raise_exception=True)
        rubrics.add_rubric(project=self.project, **given.validated_data)
        return self._anew()

    def _anew(self) -> Response:
        return Response(self.get_serializer(self.resources().get(pk=self.project.pk)).data)


class MembersViewSet(ProjectViewSet):
    queryset = Membership.objects.select_related("user").order_by("user__username")
    serializer_class = MemberOut

    def list(self, request: Request, project: str) -> Response:
        """The project's members and their roles."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(MemberOut(page, many=True, context=self._context(page or [])).data)

    @extend_schema(request=MemberIn, responses={201: NewMemberOut})
    def create(self, request: Request, project: str) -> Response:
        """Make somebody a member, or give a member another role. With `create`, who has no account gets one: the answer
        has its temporary password. An account that is there is only added, and its password stays."""
        given = MemberIn(data=request.data)
        given.is_valid(raise_exception=True)
        name, role = given.validated_data["username"], given.validated_data["role"]
        creates = given.validated_data.get("create", False)
        if "email" in given.validated_data and not creates:
            raise Refusal(
                "invalid", "An e-mail address goes with `create`: people have theirs already.", field="email"
            )
        if not creates or User.objects.filter(username=name).exists():
            return self._give(name, role, status.HTTP_201_CREATED)
        member, password = projects.invite(
            project=self.project,
            username=name,
            email=given.validated_data.get("email", ""),
            role=role,
            by=self.caller,
        )
        body = NewMemberOut(member, context=self._context([member])).data
        return Response(body | {"password": password}, status.HTTP_201_CREATED)

    @extend_schema(request=MemberChange)
    def partial_update(self, request: Request, project: str, username: str) -> Response:
        """Give a member another role, limit which prompts they are given, pause them or lift a pause, or qualify them.
        The last manager keeps their role."""
        member = get_object_or_404(self.get_queryset(), user__username=username)
        given = MemberChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        standing.change_member(project=self.project, user=member.user, **given.validated_data)
        return Response(self._shown(self.get_queryset().get(pk=member.pk)))

    @extend_schema(responses=GoldOut)
    def gold(self, request: Request, project: str, username: str) -> Response:
        """How a member did on the gold tasks that count, for the bar that they are held to."""
        member = get_object_or_404(self.get_queryset(), user__username=username)
        tasks, result = gold_result(member)
        return Response(GoldOut({"tasks": tasks, "share": result.share, "bar": self.project.gold_bar}).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, project: str, username: str) -> Response:
        """End a membership. What the person ranked stays."""
        member = get_object_or_404(self.get_queryset(), user__username=username)
        projects.remove_member(project=self.project, user=member.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _give(self, username: str, role: str, answer: int) -> Response:
        user = User.objects.filter(username=username).first()
        if user is None or not user.is_active:
            raise Refusal(
                "invalid",
                f"There is no account {username!r:.80}. With `create` true, it is made here."
                if user is None
                else f"The account {username!r:.80} is locked; an administrator unlocks it.",
                field="username",
            )
        member = projects.add_member(project=self.project, user=user, role=role)
        return Response(self._shown(member), answer)

    def _shown(self, member: Membership) -> dict[str, Any]:
        return MemberOut(member, context=self._context([member])).data

    def _context(self, members: Sequence[Membership]) -> dict[str, Any]:
        return {**self.get_serializer_context(), "qualifications": qualifications_of(self.project, members)}
