"""The report: what is open, what somebody has taken upon themselves, what went lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.audit.events import SEVERITIES
from fedtui.core.governance import findings
from fedtui.core.governance import listing as finding_listing
from fedtui.core.governance.findings import ACKNOWLEDGED, GONE, OPEN
from fedtui.core.pki.node_context import NodeContext

LATELY = timedelta(days=30)
MOST = 1000
"""Findings of a state that a report names; of more it says how many there are."""


def report(session: Session, site: NodeContext, now: datetime) -> dict[str, Any]:
    """All of it as JSON: node, reported_at, scanned_at, held_back, open (by severity), findings, acknowledged, gone."""
    gone = finding_listing.rows(session, now=now, states=(GONE,), limit=MOST)
    acknowledged = finding_listing.rows(session, now=now, states=(ACKNOWLEDGED,), limit=MOST)
    opened = findings.counts(session, now)
    return {
        "node": {"id": site.id, "name": site.name, "url": site.url},
        "reported_at": now,
        "scanned_at": findings.scanned_at(session),
        "held_back": findings.held_back(session),
        "open": opened,
        "findings": [findings.shape(one) for one in finding_listing.rows(session, now=now, states=(OPEN,), limit=MOST)],
        "not_named": max(0, sum(opened.values()) - MOST),
        "acknowledged": [findings.shape(one) for one in acknowledged],
        "gone": [findings.shape(one) for one in gone if one.gone_at and one.gone_at > now - LATELY],
    }


def fails(opened: Mapping[str, int], fail_on: str) -> bool:
    """Whether anything open is so grave, or graver."""
    return any(opened.get(severity, 0) for severity in SEVERITIES[SEVERITIES.index(fail_on) :])


def markdown(shaped: Mapping[str, Any]) -> str:
    """A report as Markdown."""
    opened = shaped["open"]
    total = sum(opened.values())
    by_severity = ", ".join(f"{count} {severity}" for severity, count in opened.items() if count)
    scanned = f"{_moment(shaped['scanned_at'])}" if shaped["scanned_at"] else "not yet: fedtui governance scan"
    lines = [
        f"# Governance of {shaped['node']['name']}",
        "",
        f"* Node {shaped['node']['url']}, reported {_moment(shaped['reported_at'])}",
        f"* Last scan: {scanned}",
        f"* Open: {total}{f' ({by_severity})' if total else ''}",
    ]
    if shaped["held_back"]:
        lines.append(f"* Could not be told: {', '.join(shaped['held_back'])} (this node has not been listening)")
    for severity in reversed(SEVERITIES):
        some = [one for one in shaped["findings"] if one["severity"] == severity]
        lines += _section(severity.capitalize(), some)
    if shaped["not_named"]:
        lines += ["", f"And {shaped['not_named']} more."]
    lines += _section("Acknowledged", shaped["acknowledged"])
    lines += _section(f"Gone within {LATELY.days} days", shaped["gone"])
    return "\n".join(lines)


def _section(title: str, some: Sequence[Mapping[str, Any]]) -> list[str]:
    if not some:
        return []
    return ["", f"## {title}", "", *(line for one in some for line in _lines(one))]


def _lines(one: Mapping[str, Any]) -> list[str]:
    since = f"first seen {_moment(one['first_seen'])}"
    again = f", back for the {one['reopened']}. time" if one["reopened"] else ""
    lines = [f"* **{one['kind']}** `{one['id']}` {_escaped(one['said'])}"]
    if one["state"] == GONE:
        return [*lines, f"  * {one['severity']}; {since}, gone {_moment(one['gone_at'])}"]
    lines.append(f"  * {since}, last seen {_moment(one['last_seen'])}{again}")
    if one["state"] == ACKNOWLEDGED:
        lines.append(
            f"  * acknowledged by {one['acknowledged_by']} until {_moment(one['acknowledged_until'])}: "
            f"{_escaped(one['acknowledgement'])}"
        )
    return [*lines, f"  * {one['advice']} `{one['fix']}`"]


def _moment(moment: datetime) -> str:
    return f"{moment:%F %H:%M} UTC"


def _escaped(text: str) -> str:
    """Remote platforms choose words, too: what Markdown would read as markup, or as a new line, is spelled out."""
    plain = " ".join(text.split())
    return "".join(f"\\{one}" if one in "\\`*_[]<>#|!" else one for one in plain)
