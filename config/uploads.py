"""How much one upload may hold; more is refused before any of it is read."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from config.api_problems import CONTENT_TYPE, problem_body

MIB = 2**20
ROOM_FOR_FIELDS = 64 * 1024
"""A form's other fields and the boundaries between them come on top of its file."""


def limit_uploads(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that answers 413 to a form whose files exceed ``RANKLOOP_UPLOAD_MIB``, on pages and in the API.

    The size is the one that the request announces, and no more than that is ever read of it.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.content_type != "multipart/form-data":
            return get_response(request)
        announced = request.META.get("CONTENT_LENGTH") or ""
        size = int(announced) if announced.isdecimal() else 0
        if size <= settings.RANKLOOP_UPLOAD_MIB * MIB + ROOM_FOR_FIELDS:
            return get_response(request)
        sentence = (
            f"The upload has {size / MIB:,.1f} MiB; at most {settings.RANKLOOP_UPLOAD_MIB:,} MiB are taken at a time. "
            "Nothing was changed. Split the file into several and upload one after the other."
        )
        if request.path.startswith("/api/"):
            body = problem_body(413, "too_large", sentence, request.path)
            return JsonResponse(body, status=413, content_type=CONTENT_TYPE)
        return render(request, "413.html", {"sentence": sentence}, status=413)

    return middleware
