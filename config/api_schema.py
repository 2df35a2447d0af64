"""How the OpenAPI document describes the endpoints."""

from __future__ import annotations

import re
from typing import Any, cast

from drf_spectacular.openapi import AutoSchema

from annotation.api_access import Access, ApiViewSet
from annotation.api_fields import Input
from config.api_problems import CONTENT_TYPE

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details. Nothing was changed.",
    "properties": {
        "type": {"type": "string", "description": "urn:rankloop:problem:CODE, for programs."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What, where, and what to do, for people."},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "line": {"type": "integer", "description": "Of the file that was sent, from 1."},
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                },
                "required": ["field", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance"],
}


class EndpointSchema(AutoSchema):
    """Names operations by resource and action, and says which role each needs."""

    @property
    def endpoint(self) -> ApiViewSet:
        return cast(ApiViewSet, self.view)

    def get_operation_id(self) -> str:
        return f"{self.get_tags()[0].replace('-', '_')}_{self.endpoint.action}"

    def get_tags(self) -> list[str]:
        return [self.endpoint.basename]

    def get_summary(self) -> str:
        """The first sentence of the description."""
        return re.split(r"(?<=[a-z0-9])[.:] ", super().get_description())[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular takes no arguments
        needed = self.endpoint.access[self.endpoint.action]
        who = {
            Access.ANYONE: "Anyone.",
            Access.SIGNED_IN: "Anyone signed in.",
            Access.ANNOTATOR: "Members of the project.",
            Access.REVIEWER: "Reviewers and managers of the project.",
            Access.MANAGER: "Managers of the project.",
            Access.CREATOR: "Who may make projects: administrators and staff, unless the installation lets everybody.",
        }[needed]
        return f"{super().get_description()}\n\n**For:** {who}".strip()

    def get_auth(self) -> list[dict[str, list[str]]]:
        return [{}] if self.endpoint.access[self.endpoint.action] == Access.ANYONE else super().get_auth()

    def _map_basic_serializer(self, serializer: Any, direction: str) -> dict[str, Any]:
        schema = super()._map_basic_serializer(serializer, direction)
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema


def without_trailing_slashes(endpoints: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Every address is served with and without a slash at its end; the document lists it once."""
    return [each for each in endpoints if not each[0].endswith("/") or each[0] == "/api/v1/"]


def with_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give every operation the answer that all errors have."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {
        "Problem": {
            "description": "The request was refused.",
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["4XX"] = {"$ref": "#/components/responses/Problem"}
            _require_choice_of_bodies(operation, components["schemas"])
    return result


def _require_choice_of_bodies(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say that a body which is one of several forms must be there; drf-spectacular leaves that out."""
    body = operation.get("requestBody", {})
    for content in body.get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if "oneOf" in schemas.get(name, {}):
            body["required"] = True
