"""The health page, for load balancers, containers and ``make run``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

PATH = "/health/"
log = logging.getLogger(__name__)


def answer_health(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that answers ``/health/``: 200 when this process reaches the database, else 503 with what is missing.

    It stands first, since a probe comes without TLS and names the container's address, not the site's.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return _health() if request.path == PATH else get_response(request)

    return middleware


def _health() -> JsonResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        log.warning("The database does not answer: %s", error)
        return JsonResponse({"status": "failing", "database": "unreachable"}, status=503)
    return JsonResponse({"status": "ok", "database": "ok"}, headers={"Cache-Control": "no-store"})
