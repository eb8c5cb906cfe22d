"""How the node stands towards those who call it: asked at every call, and therefore by one query."""

from __future__ import annotations

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from fedtui.core.administration.node_settings import PROXIES, NodeSetting, fingerprints_in
from fedtui.core.operations import quarantine
from fedtui.core.operations.quarantine import Quarantine

_QUARANTINES, _SETTINGS = Quarantine.__table__, NodeSetting.__table__
_STANDING = select(
    select(literal(1)).select_from(_QUARANTINES).limit(1).scalar_subquery(),
    select(_SETTINGS.c.value).where(_SETTINGS.c.key == PROXIES).scalar_subquery(),
)


def trusted_proxies(session: Session) -> frozenset[str]:
    """The proxies that are believed. Raises `Denied` (503) while the node is in quarantine."""
    quarantined, proxies = session.execute(_STANDING).one()
    if quarantined is not None:
        raise quarantine.turned_away()
    return fingerprints_in(proxies or "")
