"""What the faults have in common: the peer, another configuration, and waiting for exactly what is staged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from fedtui.core.audit import events
from fedtui.core.grants import decisions
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.types import new_id
from fedtui.lab.faults.model import CALLER, HERE, THERE, Node, Range, theirs

WHY = "for practice"
STRANGER = "https://newcomer.example.org"


def _nothing(_stand: Range) -> None:
    """Nothing is to be mended: the call is over."""


OVER = (theirs(_nothing, CALLER),)
"""The mending of what was refused, and stays so: whose it was is told."""


def peer_of(node: Node) -> Peer:
    """The node's one peer that is not a newcomer's."""
    with node.read() as session:
        found: Peer = session.scalars(select(Peer).where(Peer.status != "revoked").order_by(Peer.id).limit(1)).one()
    return found


def other_there(**values: Any) -> Callable[[Range], None]:
    """Another configuration of beta's daemon."""

    def apply(stand: Range) -> None:
        stand.configure(THERE, **values)
        stand.stop(THERE)
        stand.start(THERE)

    return apply


def caught_up(stand: Range, name: str) -> None:
    """Let the time that a node's record is ahead have come, as far as the record goes."""
    with stand.opened(name) as node, node.unit(node.actor("drill")) as unit:
        unit.session.execute(delete(JobRun).where(JobRun.started_at > unit.now))


def calls_fail(stand: Range, code: str) -> None:
    """Wait until alpha has noticed that its calls to beta fail, and in this way."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def failing() -> bool | None:
            with node.read() as session:
                error = peers.get(session, peer_id).last_outbound_error or ""
            return error.startswith(f"{code}:") or None

        stand.until(f"a call to the peer fails as {code}", failing)


def heard_meanwhile(stand: Range) -> None:
    """Wait until a heartbeat of beta has come although alpha's calls to it fail."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def heard() -> bool | None:
            with node.read() as session:
                failed = events.recent(session, kind="federation.peer.outbound_failed", peer_id=peer_id, limit=1)
                last = peers.get(session, peer_id).last_heartbeat_at
            return (bool(failed) and last is not None and last > failed[0].emitted_at) or None

        stand.until("the peer is heard meanwhile", heard)


def reached_for_long(stand: Range) -> None:
    """Wait until alpha's calls to beta have worked for so long that a heartbeat of beta was due."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def settled() -> bool | None:
            with node.read() as session:
                back = events.recent(session, kind="federation.peer.outbound_recovered", peer_id=peer_id, limit=1)
            long = 3 * node.settings.heartbeat_interval
            return not back or node.clock.now() - back[0].emitted_at > long or None

        stand.until("a heartbeat of the peer was due", settled)


def degraded(stand: Range) -> None:
    """Wait until alpha's sweep has degraded beta."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def gone() -> bool | None:
            with node.read() as session:
                return peers.get(session, peer_id).status == "degraded" or None

        stand.until("the sweep degrades the peer", gone)


def long_ago(stand: Range) -> None:
    """Beta sends no more from here on; as if that had begun a good while ago."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peers.lock(unit, peer_of(node).id)
        peer.last_heartbeat_at = unit.now - 3 * node.settings.stale_after
        unit.session.flush()


def quiet(stand: Range) -> None:
    """Beta answers and sends no heartbeats: it takes alpha for a peer of the network only, whom none are sent to."""
    with stand.opened(THERE) as node:
        _kind_there(node, "sdwan_only")
        since = new_id()  # by the machine's clock: the node's own may have been off before
        runs = select(JobRun.id).where(JobRun.job == heartbeats.JOB, JobRun.id > since, JobRun.finished_at.is_not(None))

        def gone_by() -> bool | None:
            """What was on its way when it became quiet has arrived."""
            with node.read() as session:
                return session.scalars(runs.limit(1)).first() is not None or None

        stand.until("the peer's job has gone by without a heartbeat", gone_by)


def speaking(stand: Range) -> None:
    """Beta sends heartbeats again."""
    with stand.opened(THERE) as node:
        _kind_there(node, "platform")


def _kind_there(node: Node, kind: str) -> None:
    with node.unit(node.actor("drill")) as unit:
        peers.lock(unit, peer_of(node).id).peer_kind = kind
        unit.session.flush()


def proving_anew(stand: Range) -> None:
    """Alpha lets beta prove itself anew."""
    stand.act(HERE, "federation_peer_suspend", {"peer": stand.url(THERE), "reason": WHY})
    stand.act(HERE, "federation_peer_resume", {"peer": stand.url(THERE)})


def refused(stand: Range, code: str, since: datetime) -> str:
    """Wait until alpha has turned a call away for this, after that moment; the decision."""
    with stand.opened(HERE) as node:

        def kept() -> str | None:
            with node.read() as session:
                found = decisions.listing(session, refused_only=True, limit=20)
            return next((one.id for one in found if one.code == code and one.last_at >= since), None)

        return str(stand.until(f"a call is turned away as {code}", kept))
