"""Home in words: what is wrong, what waits for this operator, and the lines that lead there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fedtui.screens.approvals.view import SOON, span
from fedtui.screens.governance import view as finding_view
from fedtui.screens.mtls import view as certificate_view
from fedtui.screens.peers.columns import REASONS, STATES, address, ago
from fedtui.screens.shell.commands import with_keys
from fedtui.screens.widgets.columns import Cell
from fedtui.screens.widgets.severities import GRAVE, SEVERITIES, severity
from fedtui.screens.widgets.spark import spark

if TYPE_CHECKING:
    from fedtui.core.certificates.listing import CertificateLine
    from fedtui.core.diagnosis.dashboard import Dashboard, Late
    from fedtui.core.governance.listing import FindingLine
    from fedtui.core.operations.approval_queue import ApprovalLine
    from fedtui.core.peers.listing import PeerLine
    from fedtui.core.views.node_summary import Overview

WRONG, WARN, GOOD = "▲", "○", "●"
ALL_WELL = "No alerts"
ALERTS: Mapping[str, tuple[str, str, str]] = {
    "leaked": ("peer", "with a leaked token", "token presented by somebody else"),
    "clock": ("peer", "with a clock difference", "clock"),
    "refused": ("proposed peer", "refused", "accept refused"),
    "waiting": ("peer", "without a first heartbeat", "no heartbeat yet"),
    "denied": ("call", "denied", "denied"),
    "accept_failed": ("accept", "refused by the peer", "refused by the peer"),
}
"""By the core's sorts: what is counted, its state, and that state on a line of its own."""
LEADS = {"peer": "peers/{}", "decision": "playbook/decision:{}", "approval": "approvals/{}"}
"""Where a line about an alert leads, by its scope."""
MOST_NAMED = 3
"""Things that are wrong which the headline names; the rest are counted, and stand below."""
ORDER = ("degraded", "active", "enrolled", "accepted", "proposed", "suspended", "revoked")
SAID = 14
"""Cells for what is said before bars, so that those of one line stand beneath those of the other."""
JOBS = {"federation_heartbeat": "heartbeats", "sdwan_manager": "the SDWAN Manager"}


@dataclass(frozen=True, slots=True)
class Spot:
    """A line that leads somewhere: its cells one after the other, beneath a heading or with a `label` as one."""

    leads_to: str
    cells: tuple[Cell, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading line and what stands beneath it, most urgent first. `side`: 0 left, 1 right, where there are two."""

    head: Spot
    spots: tuple[Spot, ...] = ()
    side: int = 0


def headline(seen: Overview, found: Dashboard) -> Cell:
    """The alerts, or what was checked where there is none; then what needs this operator."""
    wrong = [*_node_wrong(seen, found), *_approvals_wrong(found), *_peers_wrong(found), *_certificates_wrong(found)]
    count = found.approvals_for_me
    needs = f"{count} {'request waits' if count == 1 else 'requests wait'} for you." if count else ""
    wrong += [*_alerts_wrong(found), *_findings_wrong(found)]
    if found.incidents_open:
        wrong.append(_many(found.incidents_open, "incident", "open"))
    if len(wrong) > MOST_NAMED + 1:
        wrong = [*wrong[:MOST_NAMED], f"and {len(wrong) - MOST_NAMED} more"]
    if wrong:
        return Cell(" ".join(filter(None, (f"{WRONG} {_sentence(wrong)}.", needs))), "bad")
    if needs:
        return Cell(f"{WARN} {ALL_WELL}. {needs}", "warn")
    return Cell(f"{GOOD} {ALL_WELL}; {_checked(found)}.", "good")


def _checked(found: Dashboard) -> str:
    """How much the verdict rests on, and when it was read."""
    counted = (
        (sum(found.peers.values()), "peer"),
        (found.certificates_held, "certificate"),
        (found.approvals_open, "request"),
    )
    counts = ", ".join(_many(count, noun, "").strip() for count, noun in counted)
    refused = found.denials.count
    denied = f"; {_many(refused, 'call', 'denied within the hour')}" if refused else ""
    ended = f"; {_many(found.not_done, 'request', 'failed or timed out within the day')}" if found.not_done else ""
    at = f" {found.checked_at:%H:%M}" if found.checked_at is not None else ""
    return f"{counts} checked{at}{denied}{ended}"


def sections(seen: Overview, found: Dashboard, now: datetime) -> list[Section]:
    """Everything, in its order."""
    return [
        _node(seen, found, now),
        _approvals(found, now),
        *_alerts(found),
        _peers(found, now),
        _certificates(found, now),
        _incidents(found, now),
        _governance(found),
        *_activity(found),
    ]


def _many(count: int, noun: str, state: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'} {state}"


def _sentence(parts: Sequence[str]) -> str:
    joined = ", ".join(parts)
    return joined[:1].upper() + joined[1:]


# --- the node ------------------------------------------------------------------------------


def _node_wrong(seen: Overview, found: Dashboard) -> list[str]:
    return [
        *(["the node is in quarantine"] if seen.quarantined else []),
        *([_daemon_wrong(seen)] if not seen.daemons else []),
        *(["the manager is paused"] if seen.manager_paused else []),
        *(f"{JOBS.get(one.job, one.job)} {'failed' if one.error else 'overdue'}" for one in found.late),
        *([_many(seen.notices_failing, "notice", "not delivered")] if seen.notices_failing else []),
        *([_many(len(seen.lowered), "policy", "lowered").replace("policys", "policies")] if seen.lowered else []),
        *(["the node was recovered"] if seen.recovered else []),
    ]


def _daemon_wrong(seen: Overview) -> str:
    """Why nothing is received or carried out, where no daemon is on record as alive."""
    return "the daemon does not respond" if seen.silent_daemon else "no daemon runs"


def _node(seen: Overview, found: Dashboard, now: datetime) -> Section:
    """The daemon, the lease, the manager; what is not as it should be stands beneath."""
    bad = Cell(f"{WRONG} {'daemon silent' if seen.silent_daemon else 'no daemon'}", "bad")
    paused = Cell(f"{WRONG} manager paused", "warn")
    daemon = Cell(f"{GOOD} {_many(seen.daemons, 'daemon', '').strip()}", "good") if seen.daemons else bad
    lease = Cell(f"{GOOD} lease held", "good") if found.lease_holder else Cell(f"{WARN} lease free", "warn")
    works = Cell(f"{GOOD} manager works", "good") if seen.daemons else Cell(f"{WARN} manager idle", "warn")
    manager = paused if seen.manager_paused else works
    drill = (Cell("! drill mode", "loud"),) if seen.drill_mode else ()
    spots = tuple(_node_spots(seen, found, now))
    return Section(Spot("playbook", (daemon, lease, manager, *drill), "Node"), spots)


def _node_spots(seen: Overview, found: Dashboard, now: datetime) -> Iterator[Spot]:
    if seen.quarantined:
        told = "it answers no peer; see: fedtui db quarantine"
        yield Spot("playbook/stuck_accepted", (Cell(f"{WRONG} in quarantine", "bad"), Cell(told)))
    if not seen.daemons:
        told = "no heartbeats; approved acts wait"
        yield Spot("playbook/stuck_accepted", (Cell(f"{WRONG} {_daemon_wrong(seen)}", "bad"), Cell(told)))
    if seen.manager_paused:
        by = f"by {found.paused_by}; " if found.paused_by else ""
        told = f"{by}what is approved waits"
        yield Spot("playbook/approval_blocked", (Cell(f"{WRONG} the manager is paused", "warn"), Cell(told)))
    for one in found.late:
        yield Spot("playbook/stuck_accepted", (Cell(f"{WRONG} {one.job}", "bad"), Cell(_late(one, now))))
    if seen.notices_failing:
        failing = _many(seen.notices_failing, "notice", "could not be delivered")
        yield Spot("events", (Cell(f"{WRONG} {failing}", "bad"), Cell("it is tried again")))
    for action, policy, until in seen.lowered:
        left = Cell(f"{span(until - now)} left")
        yield Spot("playbook/approval_blocked", (Cell(f"{WRONG} {action} lowered to {policy}", "warn"), left))
    for operator in seen.recovered:
        told = "came in by recovery; it stays here until it is acknowledged"
        yield Spot("events", (Cell(f"{WRONG} {operator}", "bad"), Cell(told)))


def _late(one: Late, now: datetime) -> str:
    if one.error is not None:
        return f"its last run failed: {one.error}"
    return f"last run {ago(one.last_started_at, now)} ago" if one.last_started_at is not None else "it never ran"


# --- approvals -----------------------------------------------------------------------------


def _approvals_wrong(found: Dashboard) -> list[str]:
    return [_many(found.undecidable, "request", "that nobody can decide")] if found.undecidable else []


def _approvals(found: Dashboard, now: datetime) -> Section:
    waiting = found.approvals_for_me
    others = found.approvals_open - waiting
    mine = Cell(f"{WARN} {waiting} for you", "warn") if waiting else Cell(f"{GOOD} none for you", "good")
    rest = (Cell(f"{others} {'other' if waiting else 'for others'}", "dim"),) if others > 0 else ()
    stuck = Spot("playbook/approval_blocked", (Cell(f"{WRONG} {found.undecidable} that nobody can decide", "bad"),))
    spots = (*((stuck,) if found.undecidable else ()), *(_asked(one, now) for one in found.approvals))
    return Section(Spot("approvals", (mine, *rest), "Approvals"), spots, 1)


def _asked(line: ApprovalLine, now: datetime) -> Spot:
    left = line.expires_at - now
    clock = Cell(f"{span(left):>6}", "bad" if left < SOON else "warn")
    return Spot(f"approvals/{line.id}", (clock, Cell(line.summary)))


# --- alerts --------------------------------------------------------------------------------


def _alerts_wrong(found: Dashboard) -> list[str]:
    return [
        _many(one.count, noun, state) if one.count is not None else f"{noun}s {state}"
        for one in found.alerts
        for noun, state, _ in (ALERTS[one.sort],)
    ]


def _alerts(found: Dashboard) -> list[Section]:
    """What the record shows to be wrong with peers and calls besides: each line leads to its peer, call or request."""
    if not found.alerts:
        return []
    spots = tuple(
        Spot(LEADS[scope].format(id), (Cell(f"{WRONG} {address(label)}", "warn"), Cell(_detail(one.sort, detail))))
        for one in found.alerts
        for scope, id, label, detail in one.first
    )
    return [
        Section(Spot(spots[0].leads_to, (Cell(f"{WRONG} {_sentence(_alerts_wrong(found))}", "warn"),), "Alerts"), spots)
    ]


def _detail(sort: str, seconds: float | None) -> str:
    state = ALERTS[sort][2]
    return state if seconds is None else f"{state} {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"


# --- peers ---------------------------------------------------------------------------------


def _peers_wrong(found: Dashboard) -> list[str]:
    degraded = found.peers.get("degraded", 0)
    others = found.troubled_count - degraded
    return [
        *([_many(degraded, "peer", "degraded")] if degraded else []),
        *([_many(others, "peer", "not reached or in drill mode")] if others else []),
    ]


def _peers(found: Dashboard, now: datetime) -> Section:
    counted = tuple(
        Cell(f"{glyph} {found.peers[status]} {word}", STATES[status].style)
        for status in ORDER
        if found.peers.get(status)
        for glyph, _, word in [STATES[status].text.partition(" ")]
    )
    none = (Cell(with_keys("No peers yet: {peers}, then {propose} proposes, {accept} accepts"), "dim"),)
    return Section(Spot("peers", counted or none, "Peers"), tuple(_troubled(line, now) for line in found.troubled))


def _troubled(line: PeerLine, now: datetime) -> Spot:
    if line.status == "degraded":
        since = f"silent for {ago(line.last_heartbeat_at, now)}" if line.last_heartbeat_at else "never heard from"
        why = line.last_outbound_error or str(line.metadata.get(REASONS["degraded"], ""))
        said, style = f"{since}; {why.partition(': ')[2] or why}" if why else since, "bad"
    elif line.drill_mode and line.status == "proposed":
        said, style = "DRILL MODE: it takes any caller", "loud"
    else:
        said, style = f"not reached: {(line.last_outbound_error or '').partition(': ')[2]}", "warn"
    return Spot(f"peers/{line.id}", (Cell(f"{WRONG} {address(line.remote_instance_url)}", style), Cell(said)))


# --- certificates --------------------------------------------------------------------------


def _certificates_wrong(found: Dashboard) -> list[str]:
    broken, expired, _ = found.urgent
    return [
        *([_many(broken, "certificate", "broken")] if broken else []),
        *([_many(expired, "certificate", "expired")] if expired else []),
    ]


def _certificates(found: Dashboard, now: datetime) -> Section:
    broken, expired, expiring = found.urgent
    cells = (
        *((Cell(f"{WRONG} {broken} broken", "bad"),) if broken else ()),
        *((Cell(f"{WRONG} {expired} expired", "bad"),) if expired else ()),
        *((Cell(f"{WARN} {expiring} end within 30 days", "warn"),) if expiring else ()),
    )
    spots = tuple(_urgent(line, now) for line in found.certificates)
    return Section(Spot("certs", cells or (Cell(f"{GOOD} all good for 30 days", "good"),), "mTLS"), spots)


def _urgent(line: CertificateLine, now: datetime) -> Spot:
    side = {"outbound": "→", "inbound": "←"}.get(line.direction, "●")
    remains = certificate_view.left(line, now)
    if line.problem:
        said = Cell(certificate_view.PROBLEMS.get(line.problem, line.problem), "bad")
    else:
        said = remains if remains.style == "bad" else Cell(f"{remains.text} left", "warn")
    return Spot(f"certs/{line.id}", (Cell(f"{side} {certificate_view.whose(line, now).text}"), said))


# --- incidents -----------------------------------------------------------------------------


def _incidents(found: Dashboard, now: datetime) -> Section:
    count = found.incidents_open
    head = Cell(f"{WARN} {count} open", "warn") if count else Cell(f"{GOOD} none open", "good")
    return Section(Spot("playbook", (head,), "Incidents"), tuple(_incident(one, now) for one in found.incidents), 1)


def _incident(one: Mapping[str, Any], now: datetime) -> Spot:
    begun = f"{ago(one['opened_at'], now)} ago"
    over = one["outcome"]
    state = Cell(f"× {over}", "dim") if over is not None else Cell(f"{WARN} open, {one['owner']}", "warn")
    return Spot(f"playbook/{one['id']}", (state, Cell(one["title"]), Cell(begun, "dim")))


# --- governance ----------------------------------------------------------------------------


def _findings_wrong(found: Dashboard) -> list[str]:
    """What is grave enough to be called wrong: the rest of the findings are for a quiet hour."""
    counted = [(name, found.findings_open.get(name, 0)) for name in GRAVE]
    return [_many(count, f"{name} finding", "open") for name, count in counted if count]


def _governance(found: Dashboard) -> Section:
    counted = tuple(
        Cell(f"{SEVERITIES[name].glyph} {count} {name}", SEVERITIES[name].style)
        for name, count in found.findings_open.items()
        if count
    )
    head = Spot("governance", counted or (Cell(f"{GOOD} nothing found", "good"),), "Governance")
    # The low ones are for a quiet hour: counted here, and named in their place.
    return Section(head, tuple(_finding(one) for one in found.findings if one.severity != "low"), 1)


def _finding(line: FindingLine) -> Spot:
    return Spot(f"governance/{line.id}", (severity(line.severity), Cell(finding_view.said(line))))


# --- the last hour -------------------------------------------------------------------------


def _activity(found: Dashboard) -> list[Section]:
    """How much was heard and refused, with the hour before it as bars."""
    expected = found.peers.get("active", 0) + found.peers.get("degraded", 0)
    if found.heard is None:
        heard = Cell("not counted", "warn")
    else:
        heard = Cell(f"{found.heard} of {expected} heard", "warn" if found.heard < expected else "")
    denials, count = found.denials, found.denials.count
    refused = Cell(f"{count} this hour" if count else "none this hour", "warn" if count else "")
    wizard = f"playbook/decision:{denials.newest}" if denials.newest else "grants"
    newest = Spot(wizard, (Cell("the newest:"), Cell(denials.newest_code or "unknown")))
    return [
        Section(_bars("Heartbeats", "peers", heard, spark(found.heartbeats, most=expected))),
        Section(_bars("Denials", wizard, refused, spark(denials.buckets)), (newest,) if denials.newest else ()),
    ]


def _bars(label: str, leads_to: str, said: Cell, bars: str) -> Spot:
    return Spot(leads_to, (Cell(f"{said.text:<{SAID}}", said.style), Cell(bars)), label)
