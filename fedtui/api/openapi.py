"""The published description of the federation API (OpenAPI 3.1), built from the table of routes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fedtui import __version__
from fedtui.api import response_models
from fedtui.api.routes import ANYONE, CRL_TYPE, GRANT, PEER, ROUTES, TOKEN, WORKER, Route

JSON = "application/json"
REFERENCE = "#/components/schemas/{model}"
ALWAYS = (415, 429, 500, 503)
"""What any call may be answered: a compressed body, a budget that is used up, our own bug, and a node that cannot
answer now (quarantine, database)."""
SECURITY: Mapping[str, list[dict[str, list[str]]]] = {
    ANYONE: [],
    TOKEN: [],
    PEER: [{"peerCertificate": []}],
    GRANT: [{"peerCertificate": [], "grant": []}],
    WORKER: [{"worker": []}],
}
SCHEMES = {
    "peerCertificate": {"type": "mutualTLS", "description": "The client certificate that this node signed."},
    "grant": {"type": "http", "scheme": "bearer", "bearerFormat": "fg-<grant id>"},
    "worker": {"type": "apiKey", "in": "header", "name": "X-Worker-Token"},
}
ABOUT = (
    "What a node of fedtui takes from other platforms. Fields that are not named here are ignored; a blank text "
    "counts as absent. Unless the node is set up otherwise, a heartbeat is at most 64 KiB, a body of accept, enroll "
    "and renew 128 KiB, each of at most 32 levels and 10,000 values; a document is at most 1 MiB, of 200 levels."
)


@cache
def document() -> dict[str, Any]:
    """The whole document, as it is served and printed. Not to be changed by the caller."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fedtui federation API", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": SCHEMES},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.words,
        "security": SECURITY[route.caller],
        "responses": {"200": _success(route), **{str(one): _refusal(one) for one in (*route.refusals, *ALWAYS)}},
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        schema = dict(route.body) if isinstance(route.body, Mapping) else _reference(route.body)
        operation["requestBody"] = {"required": route.body_required, "content": {JSON: {"schema": schema}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    if route.caller != GRANT:
        return []
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in ("kind", "id")
    ]
    if route.method != "GET":
        words = "Entity tags, of which the present version must have one; `*`: there must be one."
        found.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}, "description": words})
    return found


def _success(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "The CRL.", "content": {CRL_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
    succeeded = {"type": "boolean", "const": True}
    data = {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": succeeded, "data": _reference(route.answer)},
    }
    answer: dict[str, Any] = {"description": "Done.", "content": {JSON: {"schema": data}}}
    if route.caller == GRANT:
        answer["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "The version, where there is one."}}
    return answer


def _refusal(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {JSON: {"schema": _reference(response_models.Error)}},
    }
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds.", "required": True}
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    taken = {route.body for route in ROUTES if isinstance(route.body, type)}
    given = {route.answer for route in ROUTES if route.answer is not None} | {response_models.Error}
    sides = [(one, "validation") for one in taken] + [(one, "serialization") for one in given]
    sides.sort(key=lambda side: side[0].__name__)
    _, found = models_json_schema(sides, ref_template=REFERENCE)  # type: ignore[arg-type]
    return {name: _open(schema) for name, schema in sorted(found["$defs"].items())}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Later versions may add fields to an answer: the published shape forbids none."""
    return {key: value for key, value in schema.items() if key != "additionalProperties"}
