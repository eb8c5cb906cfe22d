"""Quotas: how many documents, of how many bytes together, a peer and a grant may have written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from fedtui.core.errors import Denied
from fedtui.core.grants import resources
from fedtui.core.grants.resources import Owner, Stored
from fedtui.core.runtime.settings import Settings

NEAR = 0.8
"""The part of a quota from which on it is said to be near."""


class Quotas(NamedTuple):
    """What the node's settings allow to each."""

    peer: Stored
    grant: Stored


def of(settings: Settings) -> Quotas:
    """The quotas that are set."""
    return Quotas(
        Stored(settings.resource_documents_per_peer, settings.resource_bytes_per_peer),
        Stored(settings.resource_documents_per_grant, settings.resource_bytes_per_grant),
    )


def require_room(session: Session, owner: Owner, kind: str, id: str, size: int, quotas: Quotas) -> None:
    """Raise `Denied` (507) where a document of this size is beyond a quota of its owner.

    What it replaces is taken off first, where that is the owner's own. A document that gets no larger is always taken:
    who is beyond a quota that was lowered can still bring things in order.
    """
    before, freed = resources.held_by(session, kind, id)
    for whose, most, same, used in (
        ("grant", quotas.grant, before is not None and before.grant_id == owner.grant_id, _of_grant(session, owner)),
        ("peer", quotas.peer, before is not None and before.peer_id == owner.peer_id, _of_peer(session, owner)),
    ):
        documents = used.documents + (0 if same else 1)
        total = used.size + size - (freed if same else 0)
        if not same and documents > most.documents:
            raise _exceeded(whose, f"{used.documents} of {most.documents} documents")
        if total > most.size and (not same or size > freed):
            raise _exceeded(whose, f"{used.size} of {most.size} bytes, and the document has {size}")


def _of_grant(session: Session, owner: Owner) -> Stored:
    return resources.stored(session, grant_id=owner.grant_id)


def _of_peer(session: Session, owner: Owner) -> Stored:
    return resources.stored(session, peer_id=owner.peer_id)


def _exceeded(whose: str, used: str) -> Denied:
    return Denied(507, f"the {whose}'s quota is used up: {used}", code="quota_exceeded")


def shape(used: Stored, most: Stored) -> dict[str, Any]:
    """What is used of a quota, as it is shown."""
    return {
        "documents": used.documents,
        "documents_limit": most.documents,
        "bytes": used.size,
        "bytes_limit": most.size,
        "near": any(part >= NEAR * whole for part, whole in _pairs(used, most)),
    }


def words(stored: dict[str, Any]) -> str:
    """The same on one line."""
    near = ": near the limit" if stored["near"] else ""
    return (
        f"{stored['documents']:,} of {stored['documents_limit']:,} documents, "
        f"{stored['bytes'] / 1e6:,.1f} of {stored['bytes_limit'] / 1e6:,.0f} MB{near}"
    )


def _pairs(used: Stored, most: Stored) -> Iterator[tuple[int, int]]:
    return zip(used, most, strict=True)
