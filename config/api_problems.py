"""Every error of the API in one format: RFC 9457 problem details, ``application/problem+json``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.refusals import Refusal as PeoplesRefusal
from config.api_paging import NoSuchPage
from training.refusals import Refusal as MachinesRefusal

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

# 400 is input of the wrong form; 422 is input of the right form that makes no sense where it is put.
STATUS_OF_REFUSAL = {
    "invalid": status.HTTP_422_UNPROCESSABLE_ENTITY,
    "forbidden": status.HTTP_403_FORBIDDEN,
    "not_found": status.HTTP_404_NOT_FOUND,
    "conflict": status.HTTP_409_CONFLICT,
    "lease_lost": status.HTTP_409_CONFLICT,
    "closed": status.HTTP_409_CONFLICT,
}

TITLES = {
    400: "The request is malformed",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "The request cannot be carried out",
    429: "Too many requests",
    500: "Internal error",
    503: "The database is not available",
}


def problem_of(exception: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: what any exception of a view becomes."""
    headers: dict[str, str] = {}
    errors: list[dict[str, Any]] = []
    code: str
    match exception:
        case PeoplesRefusal() | MachinesRefusal():
            code, number, sentence = exception.code, STATUS_OF_REFUSAL[exception.code], exception.sentence
            if isinstance(exception, PeoplesRefusal):
                errors = [{"line": e.line, "field": e.field, "detail": e.reason} for e in exception.lines]
            if exception.field and not errors:
                errors = [{"field": exception.field, "detail": sentence}]
        case exceptions.ValidationError():
            code, number = "invalid", exception.status_code
            errors = list(_flat(exception.detail))
            sentence = "Nothing was changed: see `errors` for each field that is wrong."
            if errors and not any(
                error["field"] for error in errors
            ):  # what is wrong is no field, but the whole
                sentence, errors = " ".join(error["detail"] for error in errors), []
        case NoSuchPage() | NoSuchAddress():
            code, number, sentence = "not_found", status.HTTP_404_NOT_FOUND, str(exception.detail)
        case Http404() | exceptions.NotFound():
            code, number = "not_found", status.HTTP_404_NOT_FOUND
            sentence = "There is no such thing here, or you are not a member of its project."
        case PermissionDenied():
            code, number, sentence = (
                "forbidden",
                status.HTTP_403_FORBIDDEN,
                str(exception) or "This is not yours to do.",
            )
        case exceptions.APIException():
            code, number, sentence = exception.default_code, exception.status_code, str(exception.detail)
            if isinstance(exception, exceptions.NotAuthenticated):
                sentence = (
                    "Say who calls: send the header `Authorization: Bearer rl_…` with an API token (your account has "
                    "a page of them), or log in."
                )
            if auth := getattr(exception, "auth_header", None):
                headers["WWW-Authenticate"] = auth
            if wait := getattr(exception, "wait", None):
                headers["Retry-After"] = str(int(wait) + 1)
            headers |= getattr(exception, "headers", {})
        case RequestDataTooBig():
            code, number = "too_large", status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
            sentence = "The body is too large. Import files instead: they may be larger."
        case SuspiciousOperation():
            code, number, sentence = "parse_error", status.HTTP_400_BAD_REQUEST, str(exception)
        case IntegrityError():
            code, number = "conflict", status.HTTP_409_CONFLICT
            sentence = "Somebody changed the same thing at this moment, so nothing was changed. Look again and retry."
            logger.info("integrity error on %s: %s", context["request"].path, exception)
        case OperationalError():
            code, number = "unavailable", status.HTTP_503_SERVICE_UNAVAILABLE
            sentence = "Nothing was changed. Try again in a moment."
            headers["Retry-After"] = "5"
            logger.error("the database failed on %s: %s", context["request"].path, exception)
        case _:
            code, number = "error", status.HTTP_500_INTERNAL_SERVER_ERROR
            sentence = "This is a fault of the server and stands in its log. Nothing was changed."
            got_request_exception.send(sender=APIView, request=context["request"]._request)
            logger.exception("fault on %s", context["request"].path)
    request = context["request"]
    body = problem_body(number, code, sentence, request.path)
    if errors:
        body["errors"] = errors
    # Whatever else the view writes, YAML or a page: a problem is JSON.
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    return Response(body, status=number, headers=headers, content_type=CONTENT_TYPE)


def problem_body(number: int, code: str, sentence: str, path: str) -> dict[str, Any]:
    """The members that every problem has, of a request to ``path``."""
    return {
        "type": f"urn:rankloop:problem:{code}",
        "title": TITLES.get(number, "Error"),
        "status": number,
        "detail": sentence,
        "instance": path,
    }


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler of requests that it refuses before any view, such as those to a host that is not this one."""
    if not request.path.startswith("/api/"):
        return defaults.bad_request(request, exception)
    sentence = (
        "The request cannot be answered as it is; a usual reason is a host name that RANKLOOP_HOSTS lacks."
    )
    body = problem_body(400, "parse_error", sentence, request.path)
    return JsonResponse(body, status=400, content_type=CONTENT_TYPE)


class UnknownAddress(APIView):
    """Whatever lies under ``/api/`` and is no endpoint."""

    schema = None
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        raise NoSuchAddress(
            "The API has no such address. Its addresses are listed at /api/v1/docs/ and in /api/v1/schema."
        )


class NoSuchAddress(exceptions.NotFound):
    """An address that is nobody's, in contrast to a thing that is not there."""


def _flat(detail: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from _flat(inner, path if key == "non_field_errors" else f"{path}.{key}".strip("."))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from _flat(inner, f"{path}.{index}" if nested else path)
    else:
        yield {"field": path, "detail": str(detail)}
