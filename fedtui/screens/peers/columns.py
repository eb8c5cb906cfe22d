"""A peer in words: the cells of its line, and the paragraphs of its detail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from fedtui.screens.widgets.clean import wrap_indented
from fedtui.screens.widgets.columns import Cell, Column
from fedtui.screens.widgets.paint import Line, Part, drawable

if TYPE_CHECKING:
    from fedtui.core.peers.listing import PeerLine

AT_AN_END = ("suspended", "revoked")
"""The states in which nothing is expected of a peer: all of its line stays quiet."""
HEARS = ("enrolled", "active", "degraded")
"""The states in which a peer is heard from."""
LABEL = 12
"""Cells for the label of a paragraph, with a gap after it."""
SECONDS_EXACT = 10
SECONDS_STEP = 5
CERTIFICATE_WARNING = timedelta(days=30)

STATES = {
    "proposed": Cell("○ proposed"),
    "accepted": Cell("◔ accepted", "warn"),
    "enrolled": Cell("◑ enrolled", "warn"),
    "active": Cell("● active", "good"),
    "degraded": Cell("▲ degraded", "bad"),
    "suspended": Cell("■ suspended", "dim"),
    "revoked": Cell("× revoked", "dim"),
}
DRILL = Cell("! DRILL MODE", "loud")
NEXT = {
    "proposed": "It waits for the other platform to accept. Hand its operator an invite, which :token makes.",
    "accepted": "Its first heartbeat makes it active.",
    "enrolled": "Its next heartbeat makes it active.",
    "active": "Nothing to do. If no heartbeat comes for {stale}, it becomes degraded.",
    "degraded": "Its next heartbeat makes it active again. Until then, see that the other platform is up "
    "and can reach this node.",
    "suspended": "It stays out until an operator resumes it (:resume). Then it has to prove itself with a heartbeat.",
    "revoked": "This is final. To federate again, propose it anew.",
}
NEXT_ONE_WAY = (
    "It is heard from, but this node's calls to it fail (see Outbound). See that it can be reached from here. "
    "If no heartbeat comes either, for {stale}, it becomes degraded."
)
NEXT_SDWAN = "Nothing to do. An SD-WAN peer stays accepted: it sends no heartbeats."
NEXT_DRILL = (
    "It accepts ANY caller, without a token. Whoever calls first becomes this peer. "
    "Outside a drill, make a token now: :token"
)
REASONS = {
    "degraded": "degraded_reason",
    "suspended": "suspension_reason",
    "revoked": "revocation_reason",
}


class Paragraph(NamedTuple):
    """One item of a detail: a label, its text, the style of the text. Without a label, it stands alone."""

    label: str
    text: str
    style: str = ""


def paragraph_lines(paragraphs: Iterable[Paragraph], width: int) -> list[Line]:
    """Paragraphs wrapped to `width` cells: labels at the left, text beside them."""
    lines: list[Line] = []
    for label, text, style in paragraphs:
        indent = LABEL if label else 0
        room = max(width - indent, 8)
        for number, piece in enumerate(wrap_indented(drawable(text), room)):
            head = (Part(0, LABEL - 1, label, "dim"),) if label and number == 0 else ()
            lines.append(Line((*head, Part(indent, room, piece, style))))
    return lines


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, in the largest fitting unit: `7 s`, `15 s`, `3 min`, `5 h`, `12 d`.

    From ten seconds on in steps of five: a healthy peer is heard from every minute, and a
    screenful of ages that tick every second is nothing to look at, nor to send over a bad link.
    """
    seconds = max(int((now - moment).total_seconds()), 0)
    if seconds >= SECONDS_EXACT:
        seconds -= seconds % SECONDS_STEP
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86_400} d"


def address(url: str) -> str:
    """A URL as a list shows it: https goes without saying."""
    return url.removeprefix("https://").removesuffix("/")


def columns(stale_after: Callable[[], timedelta]) -> list[Column[PeerLine]]:
    """The columns of the Peers table. `stale_after` returns the age from which a heartbeat is missed."""

    def _address(line: PeerLine, now: datetime) -> Cell:
        return Cell(address(line.remote_instance_url), _quietly(line))

    def _heartbeat(line: PeerLine, now: datetime) -> Cell:
        return heartbeat(line, now, stale_after())

    return [
        Column("state", "State", 12, state),
        Column("role", "Role", 9, role, priority=2),
        Column("url", "Address", 22, _address, share=1),
        Column("heartbeat", "Heartbeat", 9, _heartbeat, right=True),
        Column("outbound", "Outbound", 8, outbound, priority=1),
        Column("certificate", "Cert", 7, certificate, right=True),
    ]


def state(line: PeerLine, now: datetime) -> Cell:
    """The status by glyph and word; a peer that takes any caller says so instead."""
    if line.drill_mode:
        return DRILL
    cell = STATES.get(line.status, Cell(f"? {line.status}", "bad"))
    return Cell(cell.text) if _at_rest(line) else cell


def _at_rest(line: PeerLine) -> bool:
    """An SD-WAN peer stays accepted: nothing more is to come."""
    return line.peer_kind == "sdwan_only" and line.status == "accepted"


def role(line: PeerLine, now: datetime) -> Cell:
    """What it is to this node."""
    text = "sd-wan" if line.peer_kind == "sdwan_only" else line.spawn_role or "-"
    return Cell(text, _quietly(line))


def heartbeat(line: PeerLine, now: datetime, stale_after: timedelta) -> Cell:
    """How long ago it was last heard from."""
    if line.last_heartbeat_at is None:
        return Cell("never", "warn" if line.status in HEARS else "dim")
    text = ago(line.last_heartbeat_at, now)
    if line.status not in HEARS:
        return Cell(text, "dim")
    return Cell(text, "warn" if now - line.last_heartbeat_at > stale_after else "")


def outbound(line: PeerLine, now: datetime) -> Cell:
    """Whether this node's last call to it succeeded."""
    if line.last_outbound_error is not None:
        return Cell("failing", _quietly(line, "bad"))
    return Cell("-", "dim") if line.last_outbound_at is None else Cell("ok", _quietly(line))


def certificate(line: PeerLine, now: datetime) -> Cell:
    """Days until its certificate runs out."""
    if line.certificate_expires_at is None:
        return Cell("-", "dim")
    left = line.certificate_expires_at - now
    if left <= timedelta(0):
        return Cell("expired", _quietly(line, "bad"))
    return Cell(f"{left.days} d", _quietly(line, "warn" if left < CERTIFICATE_WARNING else ""))


def _quietly(line: PeerLine, style: str = "") -> str:
    return "dim" if line.status in AT_AN_END else style


def describe(line: PeerLine, now: datetime, stale_after: timedelta) -> Iterator[Paragraph]:
    """The peer in words: its address, its state and why, what comes next, then the rest."""
    yield Paragraph("", address(line.remote_instance_url), "strong")
    yield Paragraph("", "")
    yield Paragraph("State", *state(line, now))
    if reason := line.metadata.get(REASONS.get(line.status, "")):
        yield Paragraph("Why", str(reason))
    yield Paragraph("Next", _next(line).format(stale=_duration(stale_after)))
    yield Paragraph("", "")
    yield Paragraph("Role", _role_in_words(line))
    yield Paragraph("Heartbeat", _moment(line.last_heartbeat_at, now, "never"))
    yield Paragraph("Outbound", *_outbound_in_words(line, now))
    yield Paragraph("Certificate", *_certificate_in_words(line, now))
    yield Paragraph("Created", _moment(line.created_at, now, "-"))
    yield Paragraph("", "")
    yield Paragraph("", line.remote_instance_url, "dim")
    yield Paragraph("", line.id, "dim")


def _next(line: PeerLine) -> str:
    if line.drill_mode:
        return NEXT_DRILL
    if _at_rest(line):
        return NEXT_SDWAN
    if line.status == "active" and line.last_outbound_error is not None:
        return NEXT_ONE_WAY
    return NEXT.get(line.status, "-")


def _role_in_words(line: PeerLine) -> str:
    if line.peer_kind == "sdwan_only":
        return "SD-WAN only"
    words = [word.replace("_", " ") for word in (line.spawn_role, line.spawn_mode) if word]
    return ", ".join(words) or "-"


def _outbound_in_words(line: PeerLine, now: datetime) -> tuple[str, str]:
    if line.last_outbound_error is None:
        last = _moment(line.last_outbound_at, now, "")
        return (f"ok {last}", "") if last else ("not called yet", "")
    last = "never" if line.last_outbound_at is None else f"{ago(line.last_outbound_at, now)} ago"
    return f"failing: {line.last_outbound_error}; last success {last}", "bad"


def _certificate_in_words(line: PeerLine, now: datetime) -> tuple[str, str]:
    if line.certificate_expires_at is None:
        return "none", ""
    cell = certificate(line, now)
    day = f"{line.certificate_expires_at:%Y-%m-%d}"
    return (f"expired on {day}" if cell.text == "expired" else f"{cell.text} left ({day})"), cell.style


def _moment(moment: datetime | None, now: datetime, absent: str) -> str:
    if moment is None:
        return absent
    today = now - moment < timedelta(hours=12)
    return f"{ago(moment, now)} ago ({moment:%H:%M:%S UTC})" if today else f"{ago(moment, now)} ago ({moment:%F})"


def _duration(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds} s"
