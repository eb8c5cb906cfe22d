"""The published description of the API, and a node held to it by calls that are made from it."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fedtui.api import openapi
from fedtui.api.federation import FederationApi
from fedtui.api.routes import ROUTES
from tests.api.conftest import Serve
from tests.api.test_resources import Place, opened
from tests.conftest import MakeNode

EXAMPLES = 12
UNBOUNDED = 10**9
LIMITS = ("accepts_per_minute", "accepts_burst", "heartbeats_per_minute", "heartbeats_burst")
"""Set so high that they play no part: a call that is turned away for its rate says nothing about its form."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


def test_document_and_routes_are_the_same(make_node: MakeNode) -> None:
    """Each call that the listener routes is in the document, and nothing else is; each handler has its row."""
    router = FederationApi(make_node()).application().router
    listened = {
        (route.method, route.resource.canonical, route.handler.__name__)
        for route in router.routes()
        if route.resource is not None
    }
    published = {
        (method.upper(), path, operation["operationId"])
        for path, operations in openapi.document()["paths"].items()
        for method, operation in operations.items()
    }
    assert listened == published == {(route.method, route.path, route.name) for route in ROUTES}


def test_the_document_is_one() -> None:
    """It is valid OpenAPI, and JSON."""
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi.document())))
    schema.validate()
    assert {operation.ok().label for operation in schema.get_all_operations()} == {
        f"{route.method} {route.path}" for route in ROUTES
    }


class Caller:
    """Makes the generated calls: one connection kept open, with or without the peer's certificate."""

    def __init__(self, place: Place, folder: Path, *, certificate: bool) -> None:
        self.place, self.seen = place, set[int]()
        self.session = requests.Session()
        self.session.trust_env = False
        anchor = folder / "ca.pem"
        anchor.write_text(place.served.ca_pem)
        pair = folder / "pair.pem"
        pair.write_bytes(place.pair[0].encode() + place.pair[1])
        self.tls = {"verify": str(anchor), "cert": str(pair) if certificate else None}
        self.headers = {"Authorization": f"Bearer fg-{place.grant()}"} if certificate else {}

    def make(self, case: Any) -> None:
        # Else half of the calls of resources would stop at the first check.
        if "kind" in case.path_parameters and case.path_parameters["kind"] != "":
            case.path_parameters["kind"] = "doc"
        answer = case.call(base_url=self.place.served.node.url, session=self.session, headers=self.headers, **self.tls)
        self.seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("certificate", [False, True], ids=["nobody", "a peer"])
def test_every_answer_is_as_published(serve: Serve, tmp_path: Path, certificate: bool) -> None:
    """Whatever is sent, in order or not, by a peer or by nobody: no answer but those in the document."""
    options = dict.fromkeys(LIMITS, UNBOUNDED)
    caller = Caller(opened(serve("alpha", **options)), tmp_path, certificate=certificate)
    schema = schemathesis.openapi.from_dict(openapi.document())
    with caller.session:
        for found in schema.get_all_operations():
            operation = found.ok()
            wrong_ways = [GenerationMode.NEGATIVE] if operation.body or operation.headers else []
            for mode in (GenerationMode.POSITIVE, *wrong_ways):
                try_all(caller, operation.as_strategy(generation_mode=mode))
    assert HTTPStatus.INTERNAL_SERVER_ERROR not in caller.seen
    assert {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY} <= caller.seen


def try_all(caller: Caller, cases: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Any) -> None:
        caller.make(case)

    one()
