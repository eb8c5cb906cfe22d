"""Commands on the record: events, certificates, the CA, and the sweep."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fedtui.cli.common import MOST, ask, group, opened, viewing
from fedtui.cli.output import fields, show, table
from fedtui.core.errors import WrongUsage

certs_app = group("Certificates, ours and theirs.")
PEM_LIMIT = 64 * 1024
ca_app = group("This node's own CA.")
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(events)
    app.command()(sweep)


def events(
    source: Annotated[str | None, typer.Option(help="Only from this source, like federation_heartbeat_sweep.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, like federation.peer.accepted.")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601, or so long ago, like 2h.")] = None,
    limit: Limit = 100,
) -> None:
    """What happened, newest first."""
    from fedtui.core.acts import shapes
    from fedtui.core.record import events as record

    with viewing() as (node, session):
        start = _since(since, node.clock.now()) if since else None
        found = record.recent(session, source=source, kind=kind, since=start, limit=limit)
        rows = [shapes.event(row) for row in found]
    columns = (
        ("emitted_at", "WHEN"),
        ("severity", "SEVERITY"),
        ("kind", "KIND"),
        ("actor", "WHO"),
        ("payload", "WHAT"),
    )
    show(rows, lambda: table(rows, columns, empty="No events."))


def sweep() -> None:
    """Degrade peers not heard of within the stale window, now; safe beside the daemon."""
    from fedtui.core.acts import jobs

    with opened() as node:
        swept = jobs.sweep(node, node.actor("cli"))
    held = " (held back: this node's own API has not been listening for a whole stale window)"
    show(swept, f"{swept['swept']} degraded{held if swept['held_back'] else ''}")


@certs_app.command("list")
def certs_list(limit: Limit = 100) -> None:
    """Every certificate, what expires first on top."""
    from fedtui.core.acts import shapes
    from fedtui.core.trust import certificates

    with viewing() as (_node, session):
        rows = [shapes.certificate(session, row) for row in certificates.listing(session, limit=limit)]
    columns = (
        ("serial", "SERIAL"),
        ("direction", "DIRECTION"),
        ("subject_kind", "KIND"),
        ("subject", "SUBJECT"),
        ("not_after", "UNTIL"),
        ("revoked_at", "REVOKED"),
    )
    show(rows, lambda: table(rows, columns, empty="No certificates."))


@certs_app.command("show")
def certs_show(serial: str) -> None:
    """One certificate, with its PEM."""
    from fedtui.core.acts import shapes
    from fedtui.core.trust import certificates

    with viewing() as (_node, session):
        row = certificates.find(session, serial)
        shape = {**shapes.certificate(session, row), "cert_pem": row.cert_pem, "chain_pem": row.chain_pem}
    show(shape, lambda: fields(shape, [key for key in shape if not key.endswith("_pem")]) + "\n\n" + row.cert_pem)


@certs_app.command("proxy")
def certs_proxy(
    name: str,
    csr: Annotated[Path, typer.Option(help="The proxy's signing request, PEM.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the record and the approver.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the decision and the outcome.")] = False,
) -> None:
    """Sign a client certificate for a reverse proxy; trusted once `settings set trusted_proxies` names it."""
    try:
        csr_pem = csr.read_text()[:PEM_LIMIT]
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(
            f"{csr} cannot be read.", cause=str(error), fix="Make one with: openssl req -new ... -out proxy.csr"
        ) from error
    ask("system.federation_certificate_mint", {"proxy": name, "csr_pem": csr_pem}, reason=reason, wait=wait)


@ca_app.command("show")
def ca_show() -> None:
    """The CA's fingerprint, for the other side to compare, and its certificate."""
    from fedtui.core.trust import certificates

    with viewing() as (_node, session):
        row = certificates.own_ca(session)
    shape = {
        "subject": row.subject,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after,
        "cert_pem": row.cert_pem,
    }
    show(shape, lambda: fields(shape, ["subject", "fingerprint", "not_after"]) + "\n\n" + row.cert_pem)


def _since(text: str, now: datetime) -> datetime:
    from fedtui.core.runtime import durations

    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        try:
            return now - durations.parse(text, field="--since")
        except (WrongUsage, OverflowError) as error:
            raise WrongUsage(
                f"--since: {text[:60]!r} is neither a time nor a duration.",
                cause="A time is ISO 8601, a duration like 2h.",
                fix="Write --since 2026-01-31T12:00:00Z or --since 2h.",
            ) from error
