"""The OpenAPI document, and two pages that show it and need no network."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib.staticfiles.finders import find
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

_building = threading.Lock()


@cache
def document() -> dict[str, Any]:
    """The document, which is the same for everyone. Threads must not make it at once: drf-spectacular is not made for
    that."""
    return SchemaGenerator().get_schema(request=None, public=True)


class Document(SpectacularAPIView):
    """The OpenAPI document: YAML, or JSON for ``Accept: application/json``."""

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []

    def _get_schema_response(self, request: Request) -> Response:
        with _building:
            return Response(document())


# Both pages set styles from their scripts, which no policy short of this allows. Scripts stay this site's own files.
@method_decorator(csp_update({"style-src": [UNSAFE_INLINE]}), name="dispatch")
class SwaggerPage(SpectacularSwaggerSplitView):
    permission_classes = [AllowAny]
    url_name = "api-schema"


@method_decorator(csp_update({"style-src": [UNSAFE_INLINE], "worker-src": ["blob:"]}), name="dispatch")
class RedocPage(SpectacularRedocView):
    permission_classes = [AllowAny]
    url_name = "api-schema"
    template_name = "api/redoc.html"

    @staticmethod
    def _redoc_standalone() -> str:
        return reverse("api-reference-script")


REDOC_SCRIPT = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
ONE_CLEAR_PIXEL = b"data:image/gif;base64,R0lGODlhAQABAAAAACw="


@cache
def redoc_script() -> bytes:
    """Redoc's script without the picture that it would ask of another host, in vain and with an error."""
    path = find(REDOC_SCRIPT)
    assert path is not None, "drf-spectacular-sidecar is installed and brings it"
    return Path(path).read_bytes().replace(REDOC_LOGO, ONE_CLEAR_PIXEL)


def send_redoc_script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        redoc_script(), content_type="text/javascript", headers={"Cache-Control": "max-age=86400"}
    )
