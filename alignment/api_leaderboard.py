"""REST: the project's leaderboard of sources."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.boards import Board, BoardChoice, board_of
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice
from annotation.api_filters import LARGEST_ID
from annotation.models import Project, Source
from annotation.spreadsheets import CSV, plain_cell
from config.api_negotiation import AnyAccept

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
COLUMNS = (
    "source",
    "name",
    "kind",
    "score",
    "standard_error",
    "quasi_standard_error",
    "low",
    "high",
    "best_rank",
    "worst_rank",
    "comparisons",
)


class Day(serializers.DateField):
    """A date as YYYY-MM-DD."""

    def to_internal_value(self, value: Any) -> date:
        if not isinstance(value, str) or not DAY.fullmatch(value):
            self.fail("invalid", format="YYYY-MM-DD")
        return super().to_internal_value(value)


class LeaderboardQuery(serializers.Serializer):
    batch = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=LARGEST_ID),
        required=False,
        help_text="Only these batches; may be given several times.",
    )
    since = Day(required=False, help_text="Rankings submitted on this day, in UTC, or later.")
    until = Day(required=False, help_text="Rankings submitted on this day, in UTC, or earlier.")
    language = serializers.CharField(
        required=False, max_length=20, help_text="Only prompts of this language."
    )
    tag = serializers.CharField(required=False, max_length=200, help_text="Only prompts with this tag.")
    style = Choice(  # type: ignore[assignment]
        choices=["true", "false"],
        required=False,
        help_text="true: what length and formatting do is taken out of the scores.",
    )
    judges = Choice(
        choices=["true", "false"],
        required=False,
        help_text="true: AI judges count beside people, less than they.",
    )


class LeaderboardRowOut(serializers.Serializer):
    source = serializers.IntegerField(help_text="Its id.")  # type: ignore[assignment]
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Source.Kind.choices)
    score = serializers.FloatField(
        help_text="Log-worth; the mean of the group's is 0. P(preferred to another) = σ(score − the other's)."
    )
    standard_error = serializers.FloatField(help_text="Of the score.")
    quasi_standard_error = serializers.FloatField(
        help_text="The standard error of a difference of two scores is about the root of the sum of both squares."
    )
    low = serializers.FloatField(
        help_text="Of the 95 % interval by quasi-standard errors: where those of two sources do not overlap, they "
        "differ."
    )
    high = serializers.FloatField()
    best_rank = serializers.IntegerField(
        help_text="One more than the number of sources that are better beyond doubt."
    )
    worst_rank = serializers.IntegerField(help_text="The number of sources that are not worse beyond doubt.")
    comparisons = serializers.IntegerField(help_text="With responses of other sources, one for each ranking.")


class StyleEffectOut(serializers.Serializer):
    feature = serializers.CharField()
    value = serializers.FloatField(help_text="What a standard deviation of it adds to a response's score.")
    low = serializers.FloatField(help_text="Of the 95 % interval.")
    high = serializers.FloatField()


class LeaderboardGroupOut(serializers.Serializer):
    rows = LeaderboardRowOut(many=True, help_text="Best first.")
    effects = StyleEffectOut(many=True)
    converged = serializers.SerializerMethodField()
    trouble = serializers.CharField(allow_blank=True, help_text="Why the fit has not converged.")

    def get_converged(self, group: Any) -> bool:
        return not group.trouble


class LeaderboardOut(serializers.Serializer):
    groups = LeaderboardGroupOut(
        many=True,
        help_text="Sources that rankings link to one another, the largest group first; those of different groups "
        "cannot be compared.",
    )
    alone = serializers.ListField(
        child=serializers.CharField(), help_text="Names of sources that nothing was compared with."
    )
    rankings = serializers.IntegerField(help_text="By people.")
    judgements = serializers.IntegerField(help_text="By judges.")
    tasks = serializers.IntegerField(help_text="Only those that nobody is asked to rank any more.")
    correlation = serializers.FloatField(
        help_text="Of two rankings of a task beyond what the sources explain: the more, the less each weighs."
    )
    as_of = serializers.DateTimeField()


class LeaderboardViewSet(ProjectViewSet):
    queryset = Project.objects.all()
    project_path = ""
    pagination_class = None

    @extend_schema(parameters=[LeaderboardQuery], responses=LeaderboardOut)
    def show(self, request: Request, project: str) -> Response:
        """The project's sources by what people preferred, with intervals, and ranks that respect them."""
        found = board_of(self.project, choice_of(request))
        board = found.figures
        fields = {name: getattr(board, name) for name in board.__dataclass_fields__}
        return Response(LeaderboardOut({**fields, "as_of": found.as_of}).data)


class LeaderboardFileViewSet(ProjectViewSet):
    queryset = Project.objects.all()
    project_path = ""
    pagination_class = None
    content_negotiation_class = AnyAccept

    @extend_schema(parameters=[LeaderboardQuery], responses={(200, "text/csv"): OpenApiTypes.STR})
    def file(self, request: Request, project: str) -> HttpResponse:
        """The same as a table (CSV), a row a source, with the number of its group."""
        return as_file(board_of(self.project, choice_of(request)).figures)


def choice_of(request: Request) -> BoardChoice:
    """Return what a query asks for. Raises ValidationError where it is wrong."""
    given = request.query_params
    # Not the query itself: what is left empty in one counts as left out.
    asked = LeaderboardQuery(
        data=given.dict() | ({"batch": given.getlist("batch")} if "batch" in given else {})
    )
    asked.is_valid(raise_exception=True)
    choice = dict(asked.validated_data)
    flags = {name: choice.pop(name, "false") == "true" for name in ("style", "judges")}
    return BoardChoice(batches=tuple(sorted(set(choice.pop("batch", ())))), **choice, **flags)


def as_file(board: Board) -> HttpResponse:
    """Return the board as CSV."""
    sheet = io.StringIO()
    csv.writer(sheet).writerows(_rows(board))
    return HttpResponse(
        sheet.getvalue(),
        content_type=CSV,
        headers={"Content-Disposition": 'attachment; filename="leaderboard.csv"'},
    )


def _rows(board: Board) -> Iterator[list[object]]:
    yield ["group", *COLUMNS]
    for number, group in enumerate(board.groups, start=1):
        for row in group.rows:
            cells = {name: getattr(row, name) for name in COLUMNS}
            cells["name"] = plain_cell(row.name)
            yield [number, *cells.values()]
