"""Commands on grants, and on the decisions of the authorization chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from fedtui.cli.common import MOST, ask, group, viewing
from fedtui.cli.output import fields, narrate, show, table, text
from fedtui.cli.peers import OptionalReason, PeerArgument, Reason, Wait
from fedtui.core.errors import WrongUsage

app = group("Grants: what peers may use.")
decisions_app = group("Decisions: what the authorization chain came to, and why.")

Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]
Grant = Annotated[str, typer.Argument(metavar="GRANT", help="An id, a unique beginning of one, or fg-<id>.")]
Only = Annotated[list[str] | None, typer.Option(help="Only from this; may be repeated. None: from anywhere.")]
More = Annotated[list[str] | None, typer.Option(help="Allow this, too; may be repeated.")]
Less = Annotated[list[str] | None, typer.Option(help="Allow this no longer; may be repeated.")]
Ttl = Annotated[str | None, typer.Option(help="How long it lives, like 30d.")]
ShortTtl = Annotated[bool, typer.Option("--short-ttl", help="Less than 7d is meant.")]


AnyInstance = Annotated[bool, typer.Option("--any-instance", help="Do not restrict by instance.")]
AnyNetwork = Annotated[bool, typer.Option("--any-network", help="Do not restrict by network.")]
AnyCidr = Annotated[bool, typer.Option("--any-cidr", help="Do not restrict by address.")]
AutoRenew = Annotated[bool | None, typer.Option("--auto-renew/--no-auto-renew", help="Whether it renews itself.")]


@app.command("list")
def list_(
    peer: Annotated[str | None, typer.Option(metavar="PEER", help="Only this peer's.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Those put out of sight 90 days after the end.")] = False,
    limit: Limit = 100,
) -> None:
    """Grants, what runs out first on top; revoked ones last."""
    from fedtui.core.grants import listing as grant_listing
    from fedtui.core.grants import operations as grant_operations
    from fedtui.core.grants import usage
    from fedtui.core.peers import peers

    with viewing() as (node, session):
        now, of_peer = node.clock.now(), peers.find(session, peer).id if peer else None
        found = grant_listing.rows(session, peer_id=of_peer, archived=archived, limit=limit)
        used = usage.totals(session, [row.id for row in found], now)
        urls = {row.peer_id: peers.get(session, row.peer_id).remote_instance_url for row in found}
        rows = [
            {**grant_operations.shape(row, now), "used_30d": used[row.id].times if row.id in used else 0}
            for row in found
        ]
    told = [{**row, **_in_short(row), "peer": urls[row["peer_id"]]} for row in rows]
    columns = (
        ("id", "ID"),
        ("status", "STATUS"),
        ("remote_subject", "SUBJECT"),
        ("peer", "PEER"),
        ("resource", "RESOURCE"),
        ("permission_scopes", "SCOPES"),
        ("limits", "LIMITS"),
        ("expires_at", "UNTIL"),
        ("used_30d", "USED"),
    )
    empty = "No grants. Issue one with: fedtui grants issue PEER --subject S --kind K --scope read"
    show(rows, lambda: table(told, columns, empty=empty))


def _in_short(grant: Mapping[str, Any]) -> Mapping[str, str]:
    """What a grant is for, and which of the allowlists restrict it."""
    from fedtui.core.grants import allowlists

    limits = [name for column, name in allowlists.NAMES.items() if grant[column]]
    return {
        "resource": f"{grant['resource_kind']}/{grant['resource_id'] or '*'}",
        "limits": "+".join(limits) or "none",
    }


@app.command("show")
def show_(grant: Grant) -> None:
    """One grant, how it was used in the last 30 days, and its last decisions."""
    from fedtui.core.grants import decisions, grants, quota, usage
    from fedtui.core.grants import operations as grant_operations
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        row, now = grants.find(session, grant), node.clock.now()
        shape = {**grant_operations.shape(row, now), "stored": grant_operations.quota_of(session, node, row.id)}
        used = [serializers.used(one) for one in usage.ways(session, row.id, now)]
        last = [serializers.decision(one) for one in decisions.listing(session, grant_id=row.id, limit=10)]
    full = {**shape, "used": used, "decisions": last}
    plain = {**shape, "stored": quota.words(shape["stored"])}
    show(full, lambda: "\n\n".join((fields(plain), _used(used), _decisions(last))))


@app.command()
def issue(
    peer: PeerArgument,
    subject: Annotated[str, typer.Option(help="Who at the peer it is for, like backup@platform-b.")],
    kind: Annotated[str, typer.Option(help="The resource kind.")],
    scope: Annotated[list[str], typer.Option(help="read, write, admin or migrate; may be repeated.")],
    id: Annotated[str | None, typer.Option("--id", help="One resource; without it, all of the kind.")] = None,
    instance: Only = None,
    network: Only = None,
    cidr: Only = None,
    ttl: Ttl = None,
    short_ttl: ShortTtl = False,
    auto_renew: Annotated[bool, typer.Option("--auto-renew", help="Renew itself, up to 365 days.")] = False,
    reason: OptionalReason = None,
    wait: Wait = False,
) -> None:
    """Let a subject at a peer use a resource kind, or one resource. An empty allowlist does not restrict."""
    params = {
        "peer": peer,
        "subject": subject,
        "kind": kind,
        "id": id,
        "scopes": scope,
        "instances": instance,
        "networks": network,
        "cidrs": cidr,
        "ttl": ttl,
        "short_ttl": short_ttl,
        "auto_renew": auto_renew,
    }
    ask("system.federation_grant_issue", params, reason=reason, wait=wait)


@app.command()
def edit(
    grant: Grant,
    add_instance: More = None,
    remove_instance: Less = None,
    any_instance: AnyInstance = False,
    add_network: More = None,
    remove_network: Less = None,
    any_network: AnyNetwork = False,
    add_cidr: More = None,
    remove_cidr: Less = None,
    any_cidr: AnyCidr = False,
    auto_renew: AutoRenew = None,
    reason: OptionalReason = None,
    wait: Wait = False,
) -> None:
    """Change a grant's allowlists, or whether it renews itself. Says what that would cut off."""
    changes = {key: value for key, value in locals().items() if key.startswith(("add_", "remove_", "any_"))}
    params = {"grant": grant, "auto_renew": auto_renew, **changes}
    _tell_cut_off(grant, params)
    ask("system.federation_grant_edit", params, reason=reason, wait=wait)


@app.command()
def renew(grant: Grant, ttl: Ttl = None, short_ttl: ShortTtl = False, wait: Wait = False) -> None:
    """Let a grant run anew from now, also one that has expired."""
    ask("system.federation_grant_renew", {"grant": grant, "ttl": ttl, "short_ttl": short_ttl}, wait=wait)


@app.command()
def revoke(grant: Grant, reason: Reason, wait: Wait = False) -> None:
    """End a grant for good. Needs approval. Says what that would cut off."""
    _tell_cut_off(grant, None)
    ask("system.federation_grant_revoke", {"grant": grant, "reason": reason}, reason=reason, wait=wait)


@app.command()
def explain(
    bearer: Annotated[str | None, typer.Argument(metavar="BEARER", help="fg-<id>, or the grant's id.")] = None,
    decision: Annotated[str | None, typer.Option(help="Replay this decision instead.")] = None,
    kind: Annotated[str | None, typer.Option(help="The resource kind. Default: the grant's.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The resource. Default: the grant's, if it names one.")] = None,
    method: Annotated[str, typer.Option(help="GET, PUT or DELETE.")] = "GET",
    instance: Annotated[str | None, typer.Option(help="The calling instance. Default: the certificate's.")] = None,
    network: Annotated[str | None, typer.Option(help="The network it comes in by.")] = None,
    source_ip: Annotated[str | None, typer.Option(help="The address it comes from.")] = None,
    peer: Annotated[str | None, typer.Option(metavar="PEER", help="Who calls. Default: the grant's peer.")] = None,
    add_instance: More = None,
    remove_instance: Less = None,
    any_instance: AnyInstance = False,
    add_network: More = None,
    remove_network: Less = None,
    any_network: AnyNetwork = False,
    add_cidr: More = None,
    remove_cidr: Less = None,
    any_cidr: AnyCidr = False,
) -> None:
    """Why a call is allowed or refused, and the smallest change that would let it through.

    With --add-..., --remove-... or --any-...: as it would be after that edit. Exit 1 where it is refused.
    """
    from fedtui.core.grants import what_if
    from fedtui.core.views import serializers

    edits = {key: value for key, value in locals().items() if key.startswith(("add_", "remove_", "any_")) and value}
    if (bearer is None) == (decision is None):
        raise WrongUsage(
            "Give a bearer or a decision; not both and not neither.",
            cause="A call is described, or one that was made is replayed.",
            fix="fedtui grants explain fg-ID --kind K --id R   or   --decision ID",
        )
    described = what_if.HypotheticalRequest(bearer or "", kind, id, method, instance, network, source_ip, peer)
    with viewing() as (node, session):
        found = what_if.explain(session, described, decision=decision, edit=edits, now=node.clock.now())
        shape = serializers.explanation(found)
    show(shape, lambda: _explained(shape))
    raise typer.Exit(0 if shape["allowed"] else 1)


def _tell_cut_off(grant: str, edit: Mapping[str, Any] | None) -> None:
    """Say what was used in the last 30 days and would be refused after this."""
    from fedtui.core.grants import grants
    from fedtui.core.grants import operations as grant_operations
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        row = grants.find(session, grant)
        changes = None if edit is None else grant_operations.edited(row, edit)
        cut = [serializers.used(one) for one in grant_operations.cut_off(session, row, changes, node.clock.now())]
    if cut:
        narrate("This cuts off what was used in the last 30 days:")
        for line in _used(cut).splitlines():
            narrate(f"  {line}")


def _used(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = (
        ("times", "USED"),
        ("method", "METHOD"),
        ("instance_id", "INSTANCE"),
        ("network_id", "NETWORK"),
        ("source_ip", "FROM"),
        ("last_at", "LAST"),
    )
    return table(rows, columns, empty="Not used in the last 30 days.")


def _decisions(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = (
        ("id", "DECISION"),
        ("at", "AT"),
        ("outcome", "OUTCOME"),
        ("call", "CALL"),
        ("source_ip", "FROM"),
        ("times", "TIMES"),
    )
    shown = [
        {
            **row,
            "outcome": "allowed" if row["allowed"] else row["code"],
            "call": _call(row),
            "source_ip": row["context"].get("caller", row["context"]).get("source_ip"),
        }
        for row in rows
    ]
    return table(shown, columns, empty="No decisions.")


def _call(row: Mapping[str, Any]) -> str:
    """The call of a decision: what was asked for, where that was a resource."""
    context = row["context"]
    if not context.get("method"):
        return str(row["call"])
    return f"{context['method']} {context['kind']}/{context['resource_id']}"


def _checks(rows: Sequence[Mapping[str, Any]]) -> str:
    words = {True: "ok", False: "REFUSED", None: "-"}
    lines = [{**row, "came_to": words[row["passed"]]} for row in rows]
    return table(lines, (("came_to", ""), ("check", "CHECK"), ("detail", "DETAIL")), empty="")


def _explained(shape: Mapping[str, Any]) -> str:
    told = "allowed" if shape["allowed"] else f"refused ({shape['status']}): {shape['code']}"
    lines = [told, "", _checks(shape["checks"]), ""]
    for change in shape["changes"]:
        lines.append(f"fix: {text(change['title'])}")
        lines += [f"     {text(change['command'])}"] if change["command"] else []
    return "\n".join(lines).rstrip()


@decisions_app.command("list")
def decisions_list(
    peer: Annotated[str | None, typer.Option(metavar="PEER", help="Only this peer's calls.")] = None,
    grant: Annotated[str | None, typer.Option(metavar="GRANT", help="Only calls with this grant.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refusals.")] = False,
    limit: Limit = 100,
) -> None:
    """Every refusal and a sample of what was allowed, newest first."""
    from fedtui.core.grants import decisions, grants
    from fedtui.core.peers import peers
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        found = decisions.listing(
            session,
            peer_id=peers.find(session, peer).id if peer else None,
            grant_id=grants.find(session, grant).id if grant else None,
            refused_only=refused,
            limit=limit,
        )
        rows = [serializers.decision(row) for row in found]
    show(rows, lambda: _decisions(rows))


@decisions_app.command("show")
def decisions_show(id: str) -> None:
    """One decision: the call, what each check came to, what was answered, and what would help now."""
    from fedtui.core.grants import decisions, what_if
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        row = decisions.find(session, id)
        fix = what_if.fix_now(session, row, node.clock.now())
        shape = {**serializers.decision(row), "fix": fix}
    show(shape, lambda: _decided(shape))


def _decided(shape: Mapping[str, Any]) -> str:
    """A decision: what came of which call, by whom and from where, each check, and what would help now."""
    context = dict(shape["context"])
    caller = {f"caller's {key}": value for key, value in context.pop("caller", {}).items() if value is not False}
    apart = ("checks", "fix", "context", "call")
    told = {"call": _call(shape), **{key: value for key, value in shape.items() if key not in apart}}
    bearer = {"bearer": context.get("bearer")}
    lines = [fields({**told, **bearer, **caller}), "", _checks(shape["checks"])]
    lines += ["", f"fix: {text(shape['fix'])}"] if shape["fix"] else []
    return "\n".join(lines)
