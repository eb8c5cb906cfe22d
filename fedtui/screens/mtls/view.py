"""A certificate in words: the cells of its line, and the paragraphs of its detail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fedtui.screens.peers.columns import Paragraph, address, ago
from fedtui.screens.peers.view import PAIRS
from fedtui.screens.widgets.columns import Cell, Column

if TYPE_CHECKING:
    from fedtui.core.certificates.listing import CertificateLine
    from fedtui.core.views.node_summary import CertificateRecord
    from fedtui.screens.shell.console_context import ConsoleContext

BAR = 8
FULL, EMPTY = "█", "░"
WARN_FROM, OWN_SERVER, OWN_CA = timedelta(days=30), timedelta(days=14), timedelta(days=365)
"""How long before its end a certificate is worth a warning: a peer's, our server's, our CA (domain, section 8)."""
WHAT = {
    ("outbound", "federation_peer"): "→ we show",
    ("inbound", "federation_peer"): "← it shows",
    ("inbound", "instance"): "← proxy",
    ("own", "server"): "● server",
    ("own", "ca"): "● CA",
}
"""Whose certificate it is, and to whom it is shown."""
IN_WORDS = {
    ("outbound", "federation_peer"): "This node presents it to the peer; the peer's CA signed it.",
    ("inbound", "federation_peer"): "The peer presents it to this node; this node's CA signed it.",
    ("inbound", "instance"): "A reverse proxy presents it to this node.",
    ("own", "server"): "This node presents it to everyone who calls it. It renews itself.",
    ("own", "ca"): "This node's own CA: it signs what peers present here.",
}
PROBLEMS = {
    **{state: words for state, (words, style) in PAIRS.items() if style == "bad"},
    "vault_unreadable": "the vault does not open its private key",
}
SHORT = {"key_missing": "no key", "cert_missing": "no cert", "mismatch": "mismatch", "vault_unreadable": "vault"}


def columns(_shared: ConsoleContext) -> list[Column[CertificateLine]]:
    """The columns of the mTLS table."""
    return [
        Column("what", "What", 10, what),
        Column("whose", "Whose", 18, whose, share=1),
        Column("left", "Left", 8, left, right=True),
        Column("bar", "Lifetime", BAR, bar, priority=1),
        Column("spent", "Spent", 5, spent, right=True, priority=2),
        Column("pair", "Pair", 9, pair),
        Column("last", "Last call", 9, last, priority=3),
    ]


def _kind(line: CertificateLine) -> tuple[str, str]:
    return line.direction, line.subject_kind


def what(line: CertificateLine, _now: datetime) -> Cell:
    """Which side shows it."""
    return Cell(WHAT.get(_kind(line), line.subject_kind), "dim" if line.over else "")


def whose(line: CertificateLine, _now: datetime) -> Cell:
    """The peer it is shown to or by, else its subject."""
    return Cell(address(line.peer_url) if line.peer_url else cert_subject(line), "dim" if line.over else "")


def cert_subject(line: CertificateLine) -> str:
    """The subject's common name."""
    return line.subject.removeprefix("CN=") or "a request that waits to be signed"


def left(line: CertificateLine, now: datetime) -> Cell:
    """Days left, or how it ended."""
    if line.superseded_at is not None:
        return Cell("replaced", "dim")
    if line.revoked_at is not None:
        return Cell("revoked", "dim")
    if line.not_after is None:
        return Cell("unsigned", "bad")
    remains = line.not_after - now
    if remains <= timedelta(0):
        return Cell("EXPIRED", "bad")
    text = f"{remains.days} d" if remains >= timedelta(days=2) else f"{int(remains.total_seconds()) // 3600} h"
    return Cell(text, "warn" if remains < _warning(line) else "")


def _warning(line: CertificateLine) -> timedelta:
    own = {"server": OWN_SERVER, "ca": OWN_CA}
    return own.get(line.subject_kind, WARN_FROM)


def fraction_left(line: CertificateLine, now: datetime) -> float:
    """How much of its lifetime is left: 1 to 0."""
    if line.not_after is None:
        return 0.0
    whole = (line.not_after - line.not_before).total_seconds()
    return min(max((line.not_after - now).total_seconds() / whole, 0.0), 1.0) if whole > 0 else 0.0


def bar(line: CertificateLine, now: datetime) -> Cell:
    """What is left of its lifetime, as a bar."""
    if line.over or line.not_after is None:
        return Cell("")
    full = round(fraction_left(line, now) * BAR)
    return Cell(FULL * full + EMPTY * (BAR - full), left(line, now).style)


def spent(line: CertificateLine, now: datetime) -> Cell:
    """How much of its lifetime is over."""
    if line.over or line.not_after is None:
        return Cell("-", "dim")
    return Cell(f"{round((1 - fraction_left(line, now)) * 100)} %")


def pair(line: CertificateLine, _now: datetime) -> Cell:
    """Whether what this node presents is whole."""
    if line.direction != "outbound" or line.over:
        return Cell("-", "dim")
    return Cell("complete") if line.problem is None else Cell(f"! {SHORT.get(line.problem, '?')}", "bad")


def last(line: CertificateLine, _now: datetime) -> Cell:
    """How the last call with it went."""
    if line.direction != "outbound" or line.over or line.not_after is None:
        return Cell("-", "dim")
    return Cell("ok") if line.last_outbound_error is None else Cell("▲ failing", "bad")


def cert_name(line: CertificateLine) -> str:
    """A certificate in a sentence."""
    who = address(line.peer_url) if line.peer_url else cert_subject(line)
    return f"{WHAT.get(_kind(line), line.subject_kind).split(' ', 1)[-1]} {who}"


def cert_label(line: CertificateLine) -> str:
    """A certificate among others."""
    until = f"until {line.not_after:%F}" if line.not_after else "unsigned"
    return f"{cert_name(line)}, {until}" + (f", serial {line.serial[:16]}…" if line.serial else "")


def describe(line: CertificateLine, now: datetime, _shared: ConsoleContext) -> Iterator[Paragraph]:
    """The certificate in words."""
    yield Paragraph("", cert_name(line), "strong")
    yield Paragraph("", IN_WORDS.get(_kind(line), ""))
    yield Paragraph("", "")
    if line.problem is not None:
        yield Paragraph("Pair", PROBLEMS.get(line.problem, line.problem), "bad")
    elif line.direction == "outbound" and not line.over:
        yield Paragraph("Pair", "complete: the certificate and its private key")
    cell = left(line, now)
    until = f" ({line.not_after:%F %H:%M} UTC)" if line.not_after else ""
    yield Paragraph("Left", f"{cell.text}{until}", cell.style)
    if not line.over and line.not_after is not None:
        yield Paragraph("Lifetime", f"{bar(line, now).text} {spent(line, now).text} spent", cell.style)
    if line.renew_at is not None and not line.over:
        due = "due now" if line.renew_at <= now else f"by itself on {line.renew_at:%F}"
        yield Paragraph("Renewal", due, "warn" if line.renew_at <= now else "")
    if line.direction == "inbound" and not line.over:
        used = f"since {line.first_used_at:%F %H:%M} UTC" if line.first_used_at else "not yet"
        yield Paragraph("In use", used)
    if line.superseded_at is not None:
        yield Paragraph("Replaced", f"{line.superseded_at:%F %H:%M} UTC, by a newer one")
    elif line.revoked_at is not None:
        yield Paragraph("Revoked", f"{line.revoked_at:%F %H:%M} UTC")
    if line.last_handshake_at is not None:
        yield Paragraph("Handshake", f"{ago(line.last_handshake_at, now)} ago")
    if line.direction == "outbound" and line.last_outbound_error is not None and not line.over:
        yield Paragraph("Last call", line.last_outbound_error, "bad")
    yield Paragraph("", "")
    yield Paragraph("", line.subject or "no certificate yet", "dim")
    yield Paragraph("", f"serial {line.serial}" if line.serial else line.id, "dim")


def describe_record(record: CertificateRecord, now: datetime) -> Iterator[Paragraph]:
    """What the table's line does not hold: the chain as a tree, renewal, CRL, what was turned away."""
    if record.broken is not None and (record.shape or {}).get("problem") != record.broken:
        yield Paragraph("", "")
        yield Paragraph("Vault", PROBLEMS.get(record.broken, record.broken), "bad")
    if record.chain:
        yield Paragraph("", "")
        yield Paragraph("Chain", "from the CA that is trusted down to what is presented")
        for depth, one in enumerate(reversed(record.chain)):
            branch = "" if depth == 0 else f"{'   ' * (depth - 1)}└─ "
            yield Paragraph("", f"  {branch}{one['subject']}  ({one['key']}, until {one['not_after']:%F})")
            yield Paragraph("", f"  {'   ' * depth}{one['fingerprint']}", "dim")
    yield from _renewal(record, now)
    yield from _crl(record.crl, now)
    if record.listed is not None:
        yield Paragraph("", "")
        told = f"{record.listed} revoked; served at /crl, signed anew each hour and at each revocation"
        yield Paragraph("CRL", told)
    yield from _refused(record, now)


def _refused(record: CertificateRecord, now: datetime) -> Iterator[Paragraph]:
    if not record.refused:
        return
    of_peer = (record.shape or {}).get("peer_id") is not None or record.shape is None
    what_for = "calls of this peer that were refused for a certificate" if of_peer else "TLS handshakes that failed"
    yield Paragraph("", "")
    yield Paragraph("Turned away", what_for)
    for one in record.refused:
        yield Paragraph("", f"  {ago(one['last_at'], now):>7} ago  {one['code']}  {one['id'][:13]}", "bad")
        caller = one["context"]["caller"]
        shown = f": {caller['subject']}, by {caller['issuer']}" if caller.get("subject") else ""
        yield Paragraph("", f"  {'':11}  from {caller['source_ip']}{shown}", "dim")


def _renewal(record: CertificateRecord, now: datetime) -> Iterator[Paragraph]:
    waiting = record.renewal
    if record.offered:
        yield Paragraph("", "")
        yield Paragraph("Asks", "The peer offers a request to be signed: M signs and delivers it.", "warn")
    if waiting is None:
        return
    yield Paragraph("", "")
    yield Paragraph("Request", f"waits since {waiting['since']:%F %H:%M} UTC; the peer sees it in our answers")
    if waiting["attempts"]:
        when = waiting["next_attempt_at"]
        after = "at the manager's next tick" if when is None or when <= now else f"at {when:%H:%M} UTC"
        yield Paragraph("Tried", f"{waiting['attempts']} times, next {after}: {waiting['last_error']}", "warn")


def _crl(crl: Mapping[str, Any] | None, now: datetime) -> Iterator[Paragraph]:
    if crl is None:
        return
    yield Paragraph("", "")
    if crl["this_update"] is None:
        yield Paragraph("Peer's CRL", f"none: {crl['error'] or 'not fetched yet'}", "dim")
        return
    overdue = crl["next_update"] is not None and crl["next_update"] <= now
    held = "its server is checked by it" if crl["covers"] and not overdue else "not checked by"
    age = f"{ago(crl['this_update'], now)} old, {crl['revoked']} revoked; {'overdue, ' if overdue else ''}{held}"
    yield Paragraph("Peer's CRL", age, "warn" if overdue or crl["error"] else "")
    if crl["error"]:
        yield Paragraph("", f"The last one was not taken: {crl['error']}", "warn")
