"""Serving calls that a certificate, and for resources a grant, must allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.access import callers, chain, resources
from fedtui.core.access.callers import Caller, Headers
from fedtui.core.access.chain import Asked, Judgement, Seen
from fedtui.core.access.resources import Document, Expected, VersionMismatch
from fedtui.core.acts.access_acts import PROVIDER
from fedtui.core.control import standing
from fedtui.core.errors import Denied
from fedtui.core.record.events import emit
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit

SOURCE = "resource_api"


class Turned(Denied):
    """A call that the chain refuses. `judgement` is for the record; the remote gets the public words."""

    def __init__(self, judgement: Judgement) -> None:
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
class Answer:
    """What a resource call came to. `instance` is the calling one, for the count of uses."""

    judgement: Judgement
    instance: str | None
    shape: Mapping[str, Any]
    etag: str | None


def caller_behind(session: Session, direct: Caller, headers: Headers, now: datetime) -> Caller:
    """Whom a connection speaks for, by the proxies that this node trusts.

    Raises `Denied` while the node is in quarantine.
    """
    configured = standing.trusted_proxies(session)
    if direct.fingerprint is None:
        return callers.believe(direct, headers, proxied=False)
    proxied = callers.is_trusted_proxy(session, direct.fingerprint, configured, now)
    return callers.believe(direct, headers, proxied=proxied)


def admit(session: Session, asked: Asked, now: datetime) -> tuple[str, str | None]:
    """The peer that makes a call which needs no grant, and its certificate's id where it is used for
    the first time. Raises `Turned`."""
    judgement = chain.judge(session, asked, now=now)
    if judgement.refusal is not None or judgement.peer_id is None:
        raise Turned(judgement)
    return judgement.peer_id, judgement.first_used


def get(session: Session, asked: Asked, now: datetime) -> Answer:
    """Read a resource. Raises `Turned`; `WrongUsage` for an id that no resource can have, as the others do."""
    judgement, instance = _judged(session, asked, now)
    return _answer(judgement, instance, PROVIDER.get(session, asked.kind, asked.resource_id), now)


def put(unit: Unit, asked: Asked, read: Callable[[], Any], expected: Expected) -> Answer:
    """Write a resource. Raises `Turned`; `Denied` (412) where it is not the version expected.

    `read` gives the document, and is not called for who may not write it.
    """
    judgement, instance = _judged(unit.session, asked, unit.now)
    content = read()
    unit.actor = Actor("peer", str(judgement.peer_id), origin=f"api {asked.caller.source_ip}")
    written = _expecting(lambda: PROVIDER.put(unit, asked.kind, asked.resource_id, content, expected=expected))
    _emit(unit, "written", judgement, version=written.version)
    return _answer(judgement, instance, written, unit.now)


def delete(unit: Unit, asked: Asked, expected: Expected) -> Answer:
    """Remove a resource; there need not be one. Raises as `put`."""
    judgement, instance = _judged(unit.session, asked, unit.now)
    unit.actor = Actor("peer", str(judgement.peer_id), origin=f"api {asked.caller.source_ip}")
    if _expecting(lambda: PROVIDER.delete(unit, asked.kind, asked.resource_id, expected=expected)):
        _emit(unit, "deleted", judgement)
    return _answer(judgement, instance, None, unit.now)


def _judged(session: Session, asked: Asked, now: datetime) -> tuple[Judgement, str | None]:
    judgement = chain.judge(session, asked, now=now)
    if not judgement.allowed:
        raise Turned(judgement)
    resources.check_id(asked.resource_id)  # before a database is asked for it: not each takes any text
    return judgement, Seen(session, asked, now).instance


def _expecting(write: Callable[[], Any]) -> Any:
    try:
        return write()
    except VersionMismatch as mismatch:
        found = f"its tag is {mismatch.found}" if mismatch.found else "there is none"
        raise Denied(412, f"the resource is not the one expected: {found}", code="version_mismatch") from mismatch


def _emit(unit: Unit, what: str, judgement: Judgement, **payload: Any) -> None:
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


def _answer(judgement: Judgement, instance: str | None, found: Document | None, now: datetime) -> Answer:
    shape = {
        "kind": judgement.asked.kind,
        "id": judgement.asked.resource_id,
        "exists": found is not None,
        "grant_id": judgement.grant_id,
        "fetched_at": now,
        "document": found.content if found else None,
    }
    return Answer(judgement, instance, shape, found.etag if found else None)
