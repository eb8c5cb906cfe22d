"""The federation API as a table: each call, who may make it, what it takes, and what it may answer.

The listener routes by it, the published document (`openapi`) is built from it, and the
authorization matrix of the tests has a column for each of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from fedtui.api import bodies, response_models
from fedtui.core.protocol.client import CRL_PATH, PREFIX

SWEEP_PATH = "/api/v1/system/worker_api/federation/heartbeat_sweep"
RESOURCE_PATH = f"{PREFIX}/resources/{{kind}}/{{id}}"
CRL_TYPE = "application/pkix-crl"
ANYONE, TOKEN, PEER, GRANT, WORKER = "anyone", "token", "peer", "grant", "worker"
"""How a caller proves itself: not at all, by the token in the body, by its certificate, by
certificate and bearer, by the worker token."""


@dataclass(frozen=True, slots=True)
class Route:
    """One call. `name` is the handler's, and the operation's id; `answer` None: not JSON (the CRL)."""

    name: str
    method: str
    path: str
    caller: str
    words: str
    answer: type[BaseModel] | None
    refusals: tuple[int, ...]
    body: type[BaseModel] | Mapping[str, Any] | None = None
    body_required: bool = True
    body_bytes: str = ""
    """The setting that bounds the body."""


HANDSHAKE_BYTES = "handshake_body_bytes"
_TIMES = (400, 408, 413, 429)
"""What any call with a body may meet before it is looked at."""
ROUTES: tuple[Route, ...] = (
    Route(
        "accept",
        "POST",
        f"{PREFIX}/accept",
        TOKEN,
        "Bootstrap: a peer proves itself by its acceptance token, has its CSR signed, and gets ours.",
        response_models.Accepted,
        (401, 409, 422, *_TIMES),
        bodies.AcceptBody,
        body_bytes=HANDSHAKE_BYTES,
    ),
    Route(
        "enroll",
        "POST",
        f"{PREFIX}/enroll",
        PEER,
        "The caller delivers the certificate that it signed for this node's CSR.",
        response_models.Enrolled,
        (401, 409, 422, *_TIMES),
        bodies.EnrollBody,
        body_bytes=HANDSHAKE_BYTES,
    ),
    Route(
        "heartbeat",
        "POST",
        f"{PREFIX}/heartbeat",
        PEER,
        "An authenticated sign of life, with what the caller declares of itself.",
        response_models.Heard,
        (401, 409, 422, *_TIMES),
        bodies.HeartbeatBody,
        body_required=False,
        body_bytes="message_body_bytes",
    ),
    Route(
        "renew",
        "POST",
        f"{PREFIX}/renew",
        PEER,
        "The next certificate for a peer that proves itself with the present one.",
        response_models.Renewed,
        (401, 409, 422, *_TIMES),
        bodies.RenewBody,
        body_bytes=HANDSHAKE_BYTES,
    ),
    Route(
        "diagnosis",
        "GET",
        f"{PREFIX}/diagnosis",
        PEER,
        "What this node sees of the caller; nothing about others.",
        response_models.Diagnosis,
        (401, 429),
    ),
    Route(
        "get_resource",
        "GET",
        RESOURCE_PATH,
        GRANT,
        "Read a resource; `ETag` names its version.",
        response_models.Resource,
        (401, 403, 422, 429),
    ),
    Route(
        "put_resource",
        "PUT",
        RESOURCE_PATH,
        GRANT,
        "Write a resource; the body is the bare document, `If-Match` names the version it replaces.",
        response_models.Resource,
        (401, 403, 412, 422, 507, *_TIMES),
        bodies.DOCUMENT_SCHEMA,
        body_bytes="body_bytes",
    ),
    Route(
        "delete_resource",
        "DELETE",
        RESOURCE_PATH,
        GRANT,
        "Remove a resource; there need not be one.",
        response_models.Resource,
        (401, 403, 412, 422, 429),
    ),
    Route("crl", "GET", CRL_PATH, ANYONE, "The CRL of this node's CA, in DER.", None, ()),
    Route(
        "sweep",
        "POST",
        SWEEP_PATH,
        WORKER,
        "One heartbeat sweep.",
        response_models.Swept,
        (401, 429),
    ),
    Route(
        "sweep_check",
        "GET",
        SWEEP_PATH,
        WORKER,
        "Whether the worker token is right; sweeps nothing.",
        response_models.Authorized,
        (401, 429),
    ),
)
