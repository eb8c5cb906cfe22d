"""What the calls answer, field by field: for the published document, and to hold the answers to it.

The core makes the answers; these only describe them. A later version may add fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

PeerStatus = Literal["proposed", "accepted", "enrolled", "active", "degraded", "suspended", "revoked"]


class ResponseModel(BaseModel):
    """What stands under `data`."""

    model_config = ConfigDict(extra="forbid")


class Certificate(ResponseModel):
    """A certificate as it is signed for a peer."""

    cert_pem: str
    ca_chain_pem: str
    serial: str
    not_after: datetime


class Accepted(ResponseModel):
    """`accept`. `certificate` and `csr_pem` are null where the caller sent no CSR, or no CA to trust."""

    peer_id: str
    status: PeerStatus
    peer_kind: Literal["platform", "sdwan_only"]
    contract_version_agreed: int
    accepted_at: datetime
    handshake_at: datetime
    certificate: Certificate | None
    csr_pem: str | None
    ca_bundle_pem: str
    warnings: list[str]


class Enrolled(ResponseModel):
    """`enroll`."""

    status: PeerStatus
    serial: str


class Endpoint(ResponseModel):
    """Where a node can be reached."""

    url: str
    scope: Literal["lan", "sdwan", "wan"]
    priority: int


class Heard(ResponseModel):
    """`heartbeat`. `csr_pem` is there where this node has a request that waits to be signed."""

    status: PeerStatus
    last_heartbeat_at: datetime
    our_endpoints: list[Endpoint]
    schema_compatibility: Literal["compatible", "drift", "unknown"]
    csr_pem: str = ""


class Renewed(ResponseModel):
    """`renew`."""

    status: PeerStatus
    certificate: Certificate


class SeenCertificate(ResponseModel):
    """A certificate as it is on record."""

    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    revoked: bool


class SeenRefusal(ResponseModel):
    """A call of the caller's that was turned away."""

    decision_id: str
    call: str
    status: int
    answered: str
    code: str | None
    times: int
    last_at: datetime


class Diagnosis(ResponseModel):
    """`diagnosis`."""

    now: datetime
    status: PeerStatus
    unchanged_since: datetime
    contract_version_agreed: int | None
    signed_at: datetime | None
    last_handshake_at: datetime | None
    last_heartbeat_at: datetime | None
    stale_after_seconds: float
    heartbeat_interval_seconds: float
    last_outbound_at: datetime | None
    last_outbound_code: str | None
    clock_skew_seconds: float | None
    presented: str | None
    signed_for_you: SeenCertificate | None
    presented_to_you: SeenCertificate | None
    pair: str
    enroll_owed: bool
    csr_waits: bool
    ca_fingerprint: str
    trusted_of_you: list[str]
    refused: list[SeenRefusal]


class Resource(ResponseModel):
    """A resource, or that there is none."""

    kind: str
    id: str
    exists: bool
    grant_id: str
    fetched_at: datetime
    document: Any


class Swept(ResponseModel):
    """The sweep."""

    swept: int
    degraded_ids: list[str]
    ran_at: datetime


class Authorized(ResponseModel):
    """The worker token is right."""

    authorized: bool


class InvalidField(ResponseModel):
    """A field that does not validate, and why."""

    field: str
    message: str


class Error(ResponseModel):
    """Every refusal. `decision_id` is what it is recorded under, where the authorization chain had a part in
    it; `fields` is there where a body does not validate."""

    success: Literal[False]
    error: str
    code: str
    decision_id: str | None
    fields: list[InvalidField] = []
