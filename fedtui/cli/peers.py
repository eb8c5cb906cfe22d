"""Commands on peers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fedtui.cli.common import MOST, ask, group, opened, secret, viewing
from fedtui.cli.output import fields, narrate, show, table
from fedtui.core.errors import RemoteFailed, WrongUsage

DRILL = "DRILL MODE: takes anyone"
app = group("Peers: the platforms this node federates with.")

PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="An id, a unique beginning of one, or a URL.")]
Role = Annotated[str, typer.Option(help="What this node is to the peer: symmetric, parent or child.")]
ModeOption = Annotated[str, typer.Option(help="managed_child, autonomous_peer, cluster_member or out_of_band.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
OptionalReason = Annotated[str | None, typer.Option(help="Why, for the record and the approver.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the decision and the outcome.")]
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]


@app.command("list")
def list_(limit: Limit = 100) -> None:
    """Every peer, what needs attention first."""
    from fedtui.core.peers import listing as peer_listing
    from fedtui.core.peers import peers
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        lines = peer_listing.page(session, limit=limit)
        rows = [serializers.peer(session, peers.get(session, line.id)) for line in lines]
    columns = (
        ("id", "ID"),
        ("shown_status", "STATUS"),
        ("spawn_role", "ROLE"),
        ("remote_instance_url", "URL"),
        ("last_heartbeat_at", "LAST HEARTBEAT"),
        ("last_outbound_error", "OUTBOUND ERROR"),
    )
    empty = "No peers yet. Propose one with: fedtui peers propose https://HOST"
    shown = [{**row, "shown_status": DRILL if row["drill_mode"] else row["status"]} for row in rows]
    show(rows, lambda: table(shown, columns, empty=empty))


@app.command("show")
def show_(
    peer: PeerArgument,
    full: Annotated[bool, typer.Option("--full", help="All that the peer declares, however much it is.")] = False,
) -> None:
    """One peer, in full; what it declares at length is shortened without --full."""
    from fedtui.core.peers import peers
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        shape = serializers.peer(session, peers.find(session, peer), full=full)
    show(shape, lambda: fields(shape))
    if shape["shortened"]:
        narrate(f"Shortened: {', '.join(shape['shortened'])}. All of it: fedtui peers show {shape['id']} --full")


@app.command()
def propose(
    url: str,
    role: Role = "symmetric",
    mode: ModeOption = "autonomous_peer",
    kind: Annotated[str, typer.Option(help="platform or sdwan_only.")] = "platform",
    reason: OptionalReason = None,
    wait: Wait = False,
) -> None:
    """Propose to peer with the platform at URL. Needs approval."""
    params = {"url": url, "role": role, "mode": mode, "kind": kind}
    ask("system.federation_peer_propose", params, reason=reason, wait=wait)


@app.command()
def token(
    peer: PeerArgument,
    ttl: Annotated[str | None, typer.Option(help="How long it lives, like 1h. Default: 7d.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the live token instead of making one.")] = False,
) -> None:
    """Make an acceptance token and invite for a proposed peer, shown this once."""
    from fedtui.core.runtime import durations

    params: dict[str, Any] = {"peer": peer, "cancel": cancel}
    if ttl is not None:
        params["ttl"] = durations.parse(ttl, field="--ttl")
    ask("system.federation_peer_token", params)


@app.command()
def accept(
    invite: Annotated[str | None, typer.Option(help="The invite; - reads it from standard input.")] = None,
    url: Annotated[str | None, typer.Option(help="The inviting platform, where there is no invite.")] = None,
    token: Annotated[str | None, typer.Option(help="Its token; - reads it from standard input.")] = None,
    ca_fingerprint: Annotated[str | None, typer.Option(help="SHA-256 of its CA, as its `fedtui ca show` says.")] = None,
    public_ca: Annotated[bool, typer.Option("--public-ca", help="Its certificate is publicly trusted.")] = False,
    role: Annotated[str | None, typer.Option(help="Default: what was proposed here, else symmetric.")] = None,
    mode: Annotated[str | None, typer.Option(help="Default: what was proposed here, else autonomous_peer.")] = None,
    reason: OptionalReason = None,
    wait: Wait = False,
) -> None:
    """Accept another platform's invitation. Needs approval."""
    if (invite is None) == (url is None and token is None):
        raise WrongUsage(
            "Give an invite, or a URL with a token; not both and not neither.",
            cause="An invite holds URL, token and CA fingerprint in one.",
            fix="fedtui peers accept --invite -   or   --url U --token - --ca-fingerprint sha256:...",
        )
    params = {
        "invite": secret(invite),
        "url": url,
        "token": secret(token),
        "ca_fingerprint": ca_fingerprint,
        "public_ca": public_ca,
        "role": role,
        "mode": mode,
    }
    ask("system.federation_peer_accept", params, reason=reason, wait=wait)


@app.command()
def suspend(peer: PeerArgument, reason: Reason) -> None:
    """Turn a peer's calls away until it is resumed."""
    ask("system.federation_peer_suspend", {"peer": peer, "reason": reason}, reason=reason)


@app.command()
def resume(peer: PeerArgument, reason: OptionalReason = None) -> None:
    """Let a suspended peer prove itself again."""
    ask("system.federation_peer_resume", {"peer": peer}, reason=reason)


@app.command()
def revoke(peer: PeerArgument, reason: Reason, wait: Wait = False) -> None:
    """End a peering for good: certificates and tokens too. Needs approval."""
    ask("system.federation_peer_revoke", {"peer": peer, "reason": reason}, reason=reason, wait=wait)


@app.command()
def edit(
    peer: PeerArgument,
    url: Annotated[str | None, typer.Option(help="Where the platform has moved.")] = None,
    confirm_endpoint: Annotated[str | None, typer.Option(help="A declared endpoint that may be dialled.")] = None,
    maintenance: Annotated[str | None, typer.Option(help="Planned maintenance for so long, like 2h; or off.")] = None,
    prefix: Annotated[str | None, typer.Option(help="What it advertises, like fd12:3456:789a::/48; or none.")] = None,
    expires: Annotated[str | None, typer.Option(help="The peering is agreed for so long, like 365d; or never.")] = None,
    reason: OptionalReason = None,
) -> None:
    """Move a peer's URL, confirm an endpoint, plan maintenance, or record its prefix or its term."""
    params = {
        "peer": peer,
        "url": url,
        "confirm_endpoint": confirm_endpoint,
        "maintenance": maintenance,
        "prefix": prefix,
        "expires": expires,
    }
    ask("system.federation_peer_edit", params, reason=reason)


@app.command()
def heartbeat(peer: PeerArgument) -> None:
    """Send this node's heartbeat to a peer now. Exit 5 if it does not arrive."""
    from fedtui.core.peers import peers
    from fedtui.core.protocol import manual_heartbeat
    from fedtui.core.views import serializers

    with opened() as node:
        peer_id, error = manual_heartbeat.send(node, node.actor("cli"), peer)
        with node.read() as session:
            shape = serializers.peer(session, peers.get(session, peer_id))
    if error is not None:
        code, _, said = error.partition(": ")
        raise RemoteFailed(
            f"The heartbeat did not arrive. {said}",
            cause=f"Last success: {shape['last_outbound_at'] or 'never'}.",
            fix="See the peer's daemon, the network, and certificates on both sides.",
            code=code,
        )
    show(shape, f"{shape['remote_instance_url']} answered")
