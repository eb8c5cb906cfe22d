"""A peer in full, in words: states, endpoints, capabilities, certificates, times, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from fedtui.screens.peers.columns import Paragraph, ago

if TYPE_CHECKING:
    from fedtui.core.views.node_summary import PeerRecord

MOST, LONGEST = 12, 60
"""Entries, and characters of each, that are shown of what a remote declares; `fedtui peers show --full` has all."""
PATH = ("proposed", "accepted", "enrolled", "active", "degraded")
PAIRS = {
    "complete": ("complete", ""),
    "none": ("none yet", "dim"),
    "key_missing": ("the private key is missing", "bad"),
    "cert_missing": ("the certificate is missing: the handshake is unfinished", "bad"),
    "mismatch": ("certificate and key do not belong together", "bad"),
}
DIRECTIONS = {"inbound": "it presents", "outbound": "we present"}


def describe_record(record: PeerRecord, now: datetime) -> Iterator[Paragraph]:
    """What the table's line does not hold."""
    shape = record.shape
    yield Paragraph("", "")
    yield Paragraph("States", _path(shape["status"]))
    yield Paragraph("From here", ", ".join(shape["can_become"]) or "nowhere: this is final")
    yield from _endpoints(record)
    yield Paragraph("Declares", _declared(shape))
    yield from _token(record, now)
    yield from _certificates(record, now)
    yield from _times(shape, now)
    yield Paragraph("", "")
    yield Paragraph("Events", "" if record.events else "none")
    for event in record.events:
        when = ago(event["emitted_at"], now)
        yield Paragraph("", f"  {when:>7} ago  {event['kind']}  by {event['actor']}", _loud(event["severity"]))


def _path(status: str) -> str:
    """The states in their order, with the present one in brackets; those aside from it follow."""
    path = " > ".join(f"[{one}]" if one == status else one for one in PATH)
    aside = "  |  ".join(f"[{one}]" if one == status else one for one in ("suspended", "revoked"))
    return f"{path}  |  {aside}"


def _endpoints(record: PeerRecord) -> Iterator[Paragraph]:
    dialled = set(record.dialled)
    declared = [one for one in record.shape["endpoints"] if isinstance(one, dict)]
    shown = [(url, "dialled", "") for url in record.dialled]
    for one in declared:
        url = str(one.get("url", ""))
        if url.rstrip("/") not in dialled:
            scope = f"{one.get('scope', '?')}, priority {one.get('priority', '?')}"
            shown.append((url, f"declared ({scope}), not confirmed (:confirm-endpoint)", "warn"))
    if len(shown) > MOST:
        shown = [*shown[:MOST], (f"and {len(shown) - MOST} more", "", "dim")]
    for number, (url, what, style) in enumerate(shown):
        yield Paragraph("Endpoints" if number == 0 else " ", f"{url}  {what}".strip(), style)


def _declared(shape: dict[str, Any]) -> str:
    parts = [
        f"{label} {_short(shape[key])}"
        for key, label in (
            ("platform_version", "version"),
            ("data_residency", "data in"),
            ("operator_contact", "contact"),
        )
        if shape[key]
    ]
    if shape["extension_slugs"]:
        parts.append("extensions " + _some(map(str, shape["extension_slugs"]), len(shape["extension_slugs"])))
    if shape["capabilities"]:
        told = (f"{key[:LONGEST]}={_short(value)}" for key, value in shape["capabilities"].items())
        parts.append("capabilities " + _some(told, len(shape["capabilities"])))
    return "; ".join(parts) or "nothing yet"


def _some(told: Iterable[str], count: int) -> str:
    """The first few of what a remote declares, each cut, and how many there are besides."""
    first = ", ".join(one if len(one) <= 2 * LONGEST else f"{one[: 2 * LONGEST]}…" for one in islice(told, MOST))
    return f"{first}, and {count - MOST} more" if count > MOST else first


def _short(value: Any) -> str:
    """A value in at most so many characters; of what has parts, how many there are."""
    if isinstance(value, dict | list):
        return f"({len(value)} entries)"
    text = str(value) if not isinstance(value, str) else value[: LONGEST + 1]
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _token(record: PeerRecord, now: datetime) -> Iterator[Paragraph]:
    if record.token_state == "issued" and record.token_expires_at is not None:  # noqa: S105
        left = record.token_expires_at - now
        gone = left.total_seconds() <= 0
        said = "has run out" if gone else f"waits to be used, until {record.token_expires_at:%F %H:%M} UTC"
        yield Paragraph("Token", said, "warn" if gone else "")
    elif record.token_state:
        yield Paragraph("Token", record.token_state)


def _certificates(record: PeerRecord, now: datetime) -> Iterator[Paragraph]:
    said, style = PAIRS[record.shape["pair"]]
    yield Paragraph("Our pair", said, style)
    for number, one in enumerate(record.certificates):
        state = "revoked" if one["revoked_at"] else f"{(one['not_after'] - now).days} d left"
        text = f"{DIRECTIONS.get(one['direction'], one['direction'])}: {state}, serial {one['serial'][:16]}"
        yield Paragraph("Held" if number == 0 else " ", text, "dim" if one["revoked_at"] else "")


def _times(shape: dict[str, Any], now: datetime) -> Iterator[Paragraph]:
    times = [
        f"{label} {ago(shape[key], now)} ago"
        for key, label in (("signed_at", "signed"), ("last_handshake_at", "handshake"))
        if shape[key]
    ]
    if times:
        yield Paragraph("Handshake", ", ".join(times))
    skew = shape["clock_skew_seconds"]
    if skew is not None and abs(skew) >= 2:
        yield Paragraph("Clock", f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours", "warn")
    if shape["term_ends_at"]:
        left = shape["term_ends_at"] - now
        over = left.total_seconds() <= 0
        when = f"ended {shape['term_ends_at']:%F}: its calls are refused" if over else f"ends in {left.days} d"
        yield Paragraph("Term", f"agreed until {shape['expires_at']:%F}; {when}", "bad" if over else "")
    if shape["maintenance_until"]:
        yield Paragraph("Maintenance", f"planned until {shape['maintenance_until']:%F %H:%M} UTC")


def _loud(severity: str) -> str:
    return {"high": "bad", "critical": "bad", "medium": "warn"}.get(severity, "")
