"""Lists come in pages: ``?page=2&page_size=100``."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request


class NoSuchPage(NotFound):
    """The list has fewer pages."""


class Pages(PageNumberPagination):
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self._refuse_unknown(request, view)  # here, since every list passes here
        asked = request.query_params.get(self.page_query_param, "1")
        try:
            if not (asked.isascii() and asked.isdigit()):  # "last" and "" are other pages to Django
                raise NotFound
            return super().paginate_queryset(queryset, request, view)
        except NotFound as error:
            raise NoSuchPage(
                f"There is no page {asked!r:.40} of this list. Begin at page 1 and follow `next` while there is one."
            ) from error

    def _refuse_unknown(self, request: Request, view: Any) -> None:
        """Raise ValidationError for a parameter that is not the list's: a misspelt filter would list everything."""
        known = [*getattr(getattr(view, "filterset_class", None), "base_filters", ())]
        known += ["ordering"] if getattr(view, "ordering_fields", ()) else []
        known += [self.page_query_param, self.page_size_query_param]
        if strangers := sorted(set(request.query_params) - set(known)):
            sentence = f"There is no such parameter; known here: {', '.join(known)}."
            raise ValidationError(dict.fromkeys(strangers, sentence))

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.page_size
        if not (
            given.isascii() and given.isdigit() and len(given) < 5 and 1 <= int(given) <= self.max_page_size
        ):
            raise ValidationError({"page_size": f"A whole number from 1 to {self.max_page_size}."})
        return int(given)

    def get_schema_operation_parameters(self, view: object) -> list[dict[str, object]]:
        return [
            {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 1}},
            {
                "name": "page_size",
                "in": "query",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": self.max_page_size,
                    "default": self.page_size,
                },
            },
        ]
