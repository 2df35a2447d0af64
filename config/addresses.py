"""What stands in an address behind the question mark, before any page reads it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.exceptions import ParseError

from config.api_parsing import check_storable


def refuse_unstorable(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that answers 400 to an address or a cookie with text that a database cannot look for.

    A form says so at the field, and the API at the parameter.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/api/"):
            try:
                for name, values in request.GET.lists():
                    check_storable([name, *values], f"The address, in {name!r:.40},")
            except ParseError as error:
                return render(request, "400.html", {"sentence": error.detail}, status=400)
        # A quoted cookie can spell any character; one that no server set is none.
        for name in [name for name, value in request.COOKIES.items() if "\x00" in value]:
            del request.COOKIES[name]
        return get_response(request)

    return middleware
