"""Serving calls that a certificate, and for resources a grant, must allow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.audit.events import emit
from fedtui.core.errors import Denied
from fedtui.core.grants import callers, chain, quota, resources
from fedtui.core.grants.callers import Caller, Headers
from fedtui.core.grants.chain import AccessRequest, AuthorizationContext, AuthorizationResult
from fedtui.core.grants.quota import Quotas
from fedtui.core.grants.resource_operations import PROVIDER
from fedtui.core.grants.resources import Document, Expected, Owner, VersionMismatch
from fedtui.core.operations import request_guard
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.document_text import Normalized
from fedtui.core.runtime.unit import Unit

SOURCE = "resource_api"


class AccessDenied(Denied):
    """A call that the chain refuses. `judgement` is for the record; the remote gets the public words."""

    def __init__(self, judgement: AuthorizationResult) -> None:
        refusal = judgement.refusal
        if refusal is None:
            raise ValueError("an allowed call is not turned away")
        super().__init__(
            refusal.status,
            refusal.public,
            code=refusal.code,
            problem=f"A call of {judgement.asked.call} was turned away: {refusal.code} ({refusal.detail}).",
            public_code=refusal.public_code or ("unauthorized" if refusal.status == 401 else refusal.code),
        )
        self.judgement = judgement


@dataclass(frozen=True, slots=True)
class ResourceResponse:
    """What a resource call came to. `instance` is the calling one, for the count of uses; `document` is JSON, None
    where there is none."""

    judgement: AuthorizationResult
    instance: str | None
    shape: Mapping[str, Any]
    document: str | None
    etag: str | None


def trusted_proxies(session: Session) -> Collection[str]:
    """Return the fingerprints of the configured proxies. Raises `Denied` while the node is in quarantine."""
    return request_guard.trusted_proxies(session)


def caller_behind(
    session: Session, direct: Caller, headers: Headers, now: datetime, configured: Collection[str] | None = None
) -> Caller:
    """Whom a connection speaks for, by the proxies that this node trusts.

    `configured` are those proxies, where this transaction has read them already (`trusted_proxies`).

    Raises `Denied` while the node is in quarantine.
    """
    if configured is None:
        configured = request_guard.trusted_proxies(session)
    if direct.fingerprint is None:
        return callers.resolve_forwarded_caller(direct, headers, proxied=False)
    proxied = callers.is_trusted_proxy(session, direct.fingerprint, configured, now)
    return callers.resolve_forwarded_caller(direct, headers, proxied=proxied)


def admit(session: Session, asked: AccessRequest, now: datetime) -> tuple[str, str | None]:
    """The peer that makes a call which needs no grant, and its certificate's id where it is used for
    the first time. Raises `AccessDenied`."""
    judgement = chain.judge(session, asked, now=now)
    if judgement.refusal is not None or judgement.peer_id is None:
        raise AccessDenied(judgement)
    return judgement.peer_id, judgement.first_used


def authorize(session: Session, asked: AccessRequest, now: datetime) -> AuthorizationResult:
    """A resource call, judged. Raises `AccessDenied`; `WrongUsage` for an id that no resource can have."""
    judgement = chain.judge(session, asked, now=now)
    if not judgement.allowed:
        raise AccessDenied(judgement)
    resources.check_id(asked.resource_id)  # before a database is asked for it: not each takes any text
    return judgement


def get(session: Session, judgement: AuthorizationResult, now: datetime) -> ResourceResponse:
    """Read a resource that its call may have."""
    asked = judgement.asked
    return _answer(session, judgement, PROVIDER.get(session, asked.kind, asked.resource_id), now)


def put(unit: Unit, asked: AccessRequest, document: Normalized, expected: Expected, quotas: Quotas) -> ResourceResponse:
    """Write a resource. Raises `AccessDenied`; `Denied`: 412 for another version than expected, 507 beyond a quota."""
    judgement = authorize(unit.session, asked, unit.now)
    owner = Owner(str(judgement.peer_id), str(judgement.grant_id))
    quota.require_room(unit.session, owner, asked.kind, asked.resource_id, len(document.text.encode()), quotas)
    unit.actor = Actor("peer", owner.peer_id, origin=f"api {asked.caller.source_ip}")
    written = _expecting(
        lambda: PROVIDER.put(unit, asked.kind, asked.resource_id, document, expected=expected, owner=owner)
    )
    _emit(unit, "written", judgement, version=written.version)
    return _answer(unit.session, judgement, written, unit.now)


def delete(unit: Unit, asked: AccessRequest, expected: Expected) -> ResourceResponse:
    """Remove a resource; there need not be one. Raises as `put`."""
    judgement = authorize(unit.session, asked, unit.now)
    unit.actor = Actor("peer", str(judgement.peer_id), origin=f"api {asked.caller.source_ip}")
    if _expecting(lambda: PROVIDER.delete(unit, asked.kind, asked.resource_id, expected=expected)):
        _emit(unit, "deleted", judgement)
    return _answer(unit.session, judgement, None, unit.now)


def _expecting(write: Callable[[], Any]) -> Any:
    try:
        return write()
    except VersionMismatch as mismatch:
        found = f"its tag is {mismatch.found}" if mismatch.found else "there is none"
        raise Denied(412, f"the resource is not the one expected: {found}", code="version_mismatch") from mismatch


def _emit(unit: Unit, what: str, judgement: AuthorizationResult, **payload: Any) -> None:
    asked = judgement.asked
    emit(
        unit,
        f"federation.resource.{what}",
        source=SOURCE,
        peer_id=judgement.peer_id,
        grant_id=judgement.grant_id,
        resource_kind=asked.kind,
        id=asked.resource_id,
        **payload,
    )


def _answer(
    session: Session, judgement: AuthorizationResult, found: Document | None, now: datetime
) -> ResourceResponse:
    shape = {
        "kind": judgement.asked.kind,
        "id": judgement.asked.resource_id,
        "exists": found is not None,
        "grant_id": judgement.grant_id,
        "fetched_at": now,
    }
    instance = AuthorizationContext(session, judgement.asked, now).instance
    return ResourceResponse(judgement, instance, shape, found.text if found else None, found.etag if found else None)
