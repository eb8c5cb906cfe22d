"""Faults of acceptance tokens: what a newcomer does wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from fedtui.core.peers import peers, tokens
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import durations
from fedtui.lab.faults.model import HERE, Fault, Look, Range
from fedtui.lab.faults.staging import OVER, STRANGER


def _newcomer(stand: Range, *, ttl: str = "1h") -> str:
    """A proposed peer with a token: the token."""
    with stand.opened(HERE) as node, node.read() as session:
        known = peers.by_url(session, STRANGER)
    if known is None:
        stand.act(HERE, "federation_peer_propose", {"url": STRANGER})
    made = stand.act(HERE, "federation_peer_token", {"peer": STRANGER, "ttl": durations.parse(ttl)})
    return str(made["acceptance_token"])


def _accept(stand: Range, token: str | None) -> None:
    body = {"contract_version": 1, "remote_instance_url": STRANGER, "acceptance_token": token}
    stand.post(HERE, f"{PREFIX}/accept", body)


def _mistyped(stand: Range) -> None:
    token = _newcomer(stand)
    _accept(stand, token[:-6] + "aaaaaa")


def _expired(stand: Range) -> None:
    token = _newcomer(stand)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        past = unit.now - timedelta(minutes=1)
        unit.session.execute(update(AcceptanceToken).where(AcceptanceToken.state == "issued").values(expires_at=past))
    _accept(stand, token)


def _superseded(stand: Range) -> None:
    old = _newcomer(stand)
    _newcomer(stand)
    _accept(stand, old)


def _used(stand: Range) -> Look:
    """Beta's own token: it let beta in, and is held by somebody who tries again."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        row = unit.session.scalars(select(AcceptanceToken).where(AcceptanceToken.state == "used").limit(1)).one()
        held = _newcomer_token(unit, row.peer_id)
        unit.session.execute(
            update(AcceptanceToken)
            .where(AcceptanceToken.digest == tokens.digest(held))
            .values(state="used", ended_at=unit.now)
        )
    return {"token": held}


def _newcomer_token(unit: Any, peer_id: str) -> str:
    return tokens.issue(unit, peer_id)[0]


def _not_sent(stand: Range) -> None:
    _newcomer(stand)
    _accept(stand, None)


def _drill_mode(stand: Range) -> None:
    stand.act(HERE, "settings_change", {"key": "drill_mode", "value": "on"})
    stand.act(HERE, "federation_peer_propose", {"url": STRANGER})


FAULTS: tuple[Fault, ...] = (
    Fault("token-mistyped", "a newcomer's token is mistyped", ("token_mistyped",), _mistyped),
    Fault("token-expired", "a newcomer's token has expired", ("token_expired",), _expired),
    Fault("token-superseded", "a newcomer uses the token before the newest", ("token_superseded",), _superseded),
    Fault("token-used", "somebody holds a token that was used", ("token_already_used",), _used, mend=OVER),
    Fault("token-not-sent", "a newcomer sends no token", ("token_not_sent",), _not_sent),
    Fault("drill-mode", "alpha takes anybody as a newcomer", ("drill_mode_peer",), _drill_mode),
)
