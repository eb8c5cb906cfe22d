"""The machine's clock set forward and back under a running daemon."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import select

from fedtui.core.audit.events import Event
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.runtime import lease
from fedtui.core.runtime.job_runs import JobRun
from tests.chaos import stand
from tests.homes import MakeHome, until

ALL = ("federation_heartbeat", "sdwan_manager", "sealing")
FAR = timedelta(hours=2)
NEAR = timedelta(seconds=60)
"""What two clocks that are right may differ by here."""


def _seen_off(node: Node, url: str, by: timedelta) -> bool:
    """Whether the peer's clock was so far ahead of this node's when it last called."""
    skew = stand.peer(node, url).clock_skew_seconds
    return skew is not None and abs(timedelta(seconds=skew) - by) < NEAR


def _ran(node: Node, since: datetime) -> bool:
    """Whether every job has run, and well, within a while from then, by this node's clock."""
    with node.read() as session:
        runs = session.scalars(
            select(JobRun.job).where(JobRun.started_at.between(since, since + NEAR), JobRun.outcome == "ok")
        )
        return set(ALL) <= set(runs)


def _epoch(node: Node) -> int:
    """How often the lease was taken."""
    with node.read() as session:
        row = lease.current(session)
    assert row is not None
    return row.epoch


def test_a_clock_set_forward_and_back_costs_nobody_a_peer(make_home: MakeHome) -> None:
    """Two hours forward, and back again: the jobs go on at once, the lease stays where it is, no peer is taken for
    silent, the other side names the clock that is wrong while it is, and nothing of it is left when it is right."""
    a, b = stand.federated(make_home, sealing_interval="1s")
    daemon = a.daemon
    with a.opened() as here, b.opened() as there:
        epoch = _epoch(here)
        for hours in (FAR, timedelta()):
            a.make_strange(clock=hours.total_seconds())
            daemon.send_signal(signal.SIGUSR1)
            set_at = datetime.now(UTC)
            until(partial(_ran, here, set_at + hours), f"the jobs run, the clock off by {hours}")
            until(partial(_seen_off, there, a.url, hours), f"the other side sees that the clock is off by {hours}")
            causes = {one.cause.code for one in there.diagnose(DiagnosisTarget()).findings}
            assert ("clock_skew" in causes) == bool(hours), causes
        with here.read() as session:
            silent = session.scalars(select(Event).where(Event.kind == "federation.peer.heartbeat_stale")).all()
        assert silent == []
        assert _epoch(here) == epoch
        assert stand.peer(here, b.url).status == stand.peer(there, a.url).status == "active"
    assert "Traceback" not in a.logs[-1].read_text()
