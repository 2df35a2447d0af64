"""The OpenAPI document is whole and says what is true."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from config.api import ENDPOINTS


def test_the_document_is_valid_openapi_3_1_without_a_warning() -> None:
    written = io.StringIO()
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=written)
    assert written.getvalue().startswith("openapi: 3.1")


@pytest.mark.django_db
def test_every_endpoint_is_documented_with_the_role_that_it_needs() -> None:
    document = APIClient().get("/api/v1/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()
    documented = {
        (method.upper(), path.removeprefix("/api/v1/"))
        for path, operations in document["paths"].items()
        for method in operations
    }
    served = {(e.method, re.sub(r"<\w+:(\w+)>", r"{\1}", e.route).replace("{pk}", "{id}")) for e in ENDPOINTS}
    assert documented == served
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "**For:**" in operation["description"]
            assert "4XX" in operation["responses"]


@pytest.mark.django_db
def test_both_pages_load_nothing_from_other_hosts_and_run_only_our_scripts() -> None:
    for address in ("/api/v1/docs/", "/api/v1/redoc/"):
        page = Client().get(address)
        assert page.status_code == 200
        assert not re.search(r'(src|href)="(https?:)?//', page.content.decode())
        scripts = re.search(r"script-src ([^;]*)", page["Content-Security-Policy"])
        assert scripts is not None and scripts[1] == "'self'"
