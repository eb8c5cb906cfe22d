"""Commands on certificates: what there is, new ones, supplied ones, revocation, the probe, and the CA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtui.cli.common import MOST, ask, group, opened, viewing
from fedtui.cli.output import MODE, fields, narrate, show, table
from fedtui.cli.pem_files import CERTIFICATE, PRIVATE_KEY, REQUEST, read_pem

if TYPE_CHECKING:
    from fedtui.core.protocol.probe import Step

certs_app = group("Certificates, ours and theirs.")
ca_app = group("This node's own CA.")
PEM_LIMIT = 64 * 1024
PROBLEM = 1
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]
PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="An id, a beginning of one, or a URL.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record and the approver.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the decision and the outcome.")]


@certs_app.command("list")
def certs_list(limit: Limit = 100) -> None:
    """Every certificate, what will hurt first on top."""
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        rows = serializers.certificates(session, limit=limit)
    lines = [{**row, "pair": row["problem"] or row["pair"].replace("none", "") or None} for row in rows]
    columns = (
        ("serial", "SERIAL"),
        ("direction", "DIRECTION"),
        ("subject_kind", "KIND"),
        ("subject", "SUBJECT"),
        ("not_after", "UNTIL"),
        ("pair", "PAIR"),
        ("superseded_at", "REPLACED"),
        ("revoked_at", "REVOKED"),
    )
    show(rows, lambda: table(lines, columns, empty="No certificates."))


@certs_app.command("show")
def certs_show(serial: str) -> None:
    """One certificate, with its PEM."""
    from fedtui.core.pki import certificates
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        row = certificates.find(session, serial)
        shape = {**serializers.certificate(session, row), "cert_pem": row.cert_pem, "chain_pem": row.chain_pem}
    show(shape, lambda: fields(shape, [key for key in shape if not key.endswith("_pem")]) + "\n\n" + row.cert_pem)


@certs_app.command("csr")
def certs_csr(peer: PeerArgument) -> None:
    """This node's signing request to a peer, for its operator to sign; made if there is none."""
    from fedtui.core.certificates import operations as certificate_operations

    with opened() as node:
        found = certificate_operations.request_for(node, node.actor("cli"), peer)
    show(found, found["csr_pem"].strip())


@certs_app.command("issue")
def certs_issue(
    peer: PeerArgument,
    csr: Annotated[
        Path | None, typer.Option(help="The request, PEM. Without: the one the peer offers, else the key it has.")
    ] = None,
    reason: Reason = None,
    wait: Wait = False,
) -> None:
    """Sign a certificate for a peer by hand. Needs approval."""
    params = {"peer": peer, "csr_pem": read_pem(csr, REQUEST) if csr else None}
    ask("system.federation_certificate_mint", params, reason=reason, wait=wait)


@certs_app.command("store")
def certs_store(
    peer: PeerArgument,
    cert: Annotated[Path, typer.Option(help="The certificate, PEM, with what it chains by.")],
    key: Annotated[
        Path | None, typer.Option(help="Its private key, PEM, unencrypted. Without: the key of `certs csr`.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Present a supplied certificate to a peer from now on."""
    params = {
        "peer": peer,
        "cert_pem": read_pem(cert, CERTIFICATE),
        "key_pem": read_pem(key, PRIVATE_KEY) if key else None,
    }
    ask("system.federation_certificate_store", params, reason=reason)


@certs_app.command("rotate")
def certs_rotate(peer: PeerArgument, reason: Reason = None) -> None:
    """Ask a peer for the next certificate now, with a new key."""
    ask("system.federation_certificate_rotate", {"peer": peer}, reason=reason)


@certs_app.command("revoke")
def certs_revoke(
    serial: str,
    reason: Annotated[str, typer.Option(help="Why, for the record and the approver.")],
    wait: Wait = False,
) -> None:
    """Revoke a certificate that this node signed, for good. Needs approval."""
    params = {"serial": serial, "reason": reason}
    ask("system.federation_certificate_revoke", params, reason=reason, wait=wait)


@certs_app.command("trust")
def certs_trust(
    peer: PeerArgument,
    ca_fingerprint: Annotated[str, typer.Option(help="SHA-256 of the peer's CA, compared over another channel.")],
    reason: Reason = None,
    wait: Wait = False,
) -> None:
    """Know a peer's server by another CA from now on. Needs approval."""
    params = {"peer": peer, "ca_fingerprint": ca_fingerprint}
    ask("system.federation_certificate_anchor", params, reason=reason, wait=wait)


@certs_app.command("proxy")
def certs_proxy(
    name: str,
    csr: Annotated[Path, typer.Option(help="The proxy's signing request, PEM.")],
    reason: Reason = None,
    wait: Wait = False,
) -> None:
    """Sign a client certificate for a reverse proxy; trusted once `settings set trusted_proxies` names it."""
    params = {"proxy": name, "csr_pem": read_pem(csr, REQUEST)}
    ask("system.federation_certificate_mint", params, reason=reason, wait=wait)


@certs_app.command("probe")
def certs_probe(
    peer_or_url: Annotated[str, typer.Argument(metavar="PEER|URL", help="A peer, or any https URL.")],
) -> None:
    """Look at a peer's TLS step by step, and say what is wrong. Exit 1 if something is."""
    from fedtui.core.administration import operators
    from fedtui.core.protocol import probe as probing

    with opened() as node:
        with node.read() as session:
            operators.require(session, node.operator)
        report = probing.probe(node, peer_or_url, (lambda _step: None) if MODE.json else _tell)
    shape = probing.shape(report)
    show(shape, lambda: _in_words(shape))
    if not report.ok:
        raise typer.Exit(PROBLEM)


@ca_app.command("show")
def ca_show() -> None:
    """The CA's fingerprint, for the other side to compare, and its certificate."""
    from fedtui.core.pki import certificates

    with viewing() as (_node, session):
        row = certificates.own_ca(session)
    shape = {
        "subject": row.subject,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after,
        "cert_pem": row.cert_pem,
    }
    show(shape, lambda: fields(shape, ["subject", "fingerprint", "not_after"]) + "\n\n" + row.cert_pem)


MARKS = {True: "ok     ", False: "FAILED ", None: "-      "}


def _tell(step: Step) -> None:
    """A step as it ends."""
    narrate(f"{MARKS[step.ok]}{step.name.replace('_', ' '):<19}{step.said}")


def _in_words(shape: dict[str, Any]) -> str:
    """The chain as a tree, and every fault with what helps."""
    lines = []
    for depth, one in enumerate(shape["chain"]):
        lines += [
            f"{'   ' * depth}{'└─ ' if depth else ''}{one['subject'] or '(no subject)'}",
            f"{'   ' * depth}   {one['key']}, {one['not_before']:%F} to {one['not_after']:%F}, {one['fingerprint']}",
        ]
        if one["names"]:
            lines.append(f"{'   ' * depth}   for {', '.join(one['names'])}")
    if shape["anchor"]:
        lines.append(f"chains to {shape['anchor']}, which is trusted here")
    for one in shape["faults"]:
        lines += ["", f"{one['code']}: {one['problem']}", f"  fix: {one['fix']}"]
    return "\n".join([*lines, "", "Nothing is wrong." if shape["ok"] else f"{len(shape['faults'])} found."]).strip()
