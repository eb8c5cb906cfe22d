"""Commands on what is decided: approvals, policies, the manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from fedtui.cli.common import MOST, ask, group, opened, viewing
from fedtui.cli.output import block, fields, show, table, text

app = group("The approval queue.")
policies_app = group("Policies: what runs at once, what asks, what is blocked.")
manager_app = group("The SDWAN Manager, which carries out what was approved.")

ApprovalArgument = Annotated[str, typer.Argument(metavar="ID", help="A request's id, or a unique beginning of one.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the decision and the outcome.")]


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only these: pending, approved, executed, ...")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own, still open.")] = False,
    for_me: Annotated[bool, typer.Option("--for-me", help="Only those that you can decide.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 100,
) -> None:
    """Requests: open ones first, then the newest."""
    from fedtui.core.operations import approval_queue, approvals
    from fedtui.core.views import serializers

    view = approval_queue.MINE if mine else approval_queue.FOR_ME if for_me else ""
    with viewing() as (node, session):
        if view:
            here = approval_queue.View(view, node.operator, node.clock.now())
            found = [approvals.find(session, line.id) for line in approval_queue.page(session, view=here, limit=limit)]
        else:
            found = approvals.listing(session, status=status, limit=limit, now=node.clock.now())
        rows = [serializers.approval(row, node.clock.now()) for row in found]
    columns = (
        ("id", "ID"),
        ("status", "STATUS"),
        ("requested_by", "ASKED BY"),
        ("expires_at", "EXPIRES"),
        ("summary", "WHAT"),
    )
    show(rows, lambda: table(rows, columns, empty="No requests."))


@app.command("show")
def show_(approval: ApprovalArgument) -> None:
    """One request: what will happen, its digest, and what it waits for."""
    from fedtui.core.operations import approvals
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        shape = serializers.approval_in_full(session, approvals.find(session, approval), node, node.acts)
    show(shape, lambda: _told(shape))


def _told(shape: Mapping[str, Any]) -> str:
    """A request for a person: a line a field, its changes and why it waits in words, and how to approve it."""
    waiting = shape["waiting"]
    pending = shape["status"] == "pending"
    apart = ("changes", "params", "target", "waiting", "result", "error")
    short = fields(shape, [key for key in shape if key not in apart])
    changes = [
        f"{one['what']}: {one['before'] or 'nothing'} -> {one['after'] or 'nothing'}" for one in shape["changes"]
    ]
    blocks = {
        "changes": changes,
        **{
            key: [f"{name}: {text(value)}" for name, value in (shape[key] or {}).items()]
            for key in ("params", "target", "result")
        },
        "error": [text(value) for value in (shape["error"] or {}).values()],
        "can decide": [", ".join(waiting["can_decide"]) or "nobody: fedtui operators add NAME"] if pending else [],
        "cannot decide": [f"{name}: {why}" for name, why in waiting["cannot_decide"].items()] if pending else [],
        "then": [waiting["then"]] if waiting["then"] else [],
        "to approve": [f"fedtui approvals approve {shape['id']} --digest {shape['digest'][:12]}"] if pending else [],
    }
    return "\n".join([short, *(block(label, lines) for label, lines in blocks.items() if lines)])


@app.command()
def approve(
    approval: ApprovalArgument,
    digest: Annotated[str, typer.Option(help="The digest that was shown, 8 characters or more.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
) -> None:
    """Approve exactly what was shown. The manager carries it out at its next tick."""
    from fedtui.core.views import serializers

    with opened() as node:
        row = node.approve(node.actor("cli"), approval, digest, reason=reason)
        with node.read() as session:
            shape = serializers.approval_in_full(session, row, node, node.acts)
    show(shape, f"approved; {shape['waiting']['then']}")


@app.command()
def reject(approval: ApprovalArgument, reason: Annotated[str, typer.Option(help="Why, for the requester.")]) -> None:
    """Reject a request, with a reason."""
    _decide("reject", approval, reason)


@app.command()
def withdraw(approval: ApprovalArgument) -> None:
    """Take back your own request."""
    _decide("withdraw", approval)


@app.command()
def retry(approval: ApprovalArgument) -> None:
    """Let the manager try a failed request again."""
    _decide("retry", approval)


@app.command()
def again(approval: ApprovalArgument, reason: Reason = None, wait: Wait = False) -> None:
    """Ask again for what was rejected, withdrawn, went stale or timed out, as things are now."""
    from fedtui.core.operations import approvals

    with viewing() as (_node, session):
        row = approvals.find(session, approval)
        action, params, why = row.action, {"again": row.id}, reason or row.reason
    ask(action, params, reason=why, wait=wait)


def _decide(what: str, approval: str, *words: str) -> None:
    from fedtui.core.operations import gate
    from fedtui.core.views import serializers

    with opened() as node:
        row = gate.decide(node, node.actor("cli"), what, approval, *words)
        shape = serializers.approval(row)
    show(shape, f"{row.status}: {row.summary}")


@policies_app.command("list")
def policies_list() -> None:
    """Every action and the policy in force."""
    from fedtui.core.operations import policies

    with viewing() as (node, session):
        rows = policies.listing(session, node.clock.now())
    columns = (
        ("action", "ACTION"),
        ("policy", "POLICY"),
        ("lowered_until", "LOWERED UNTIL"),
        ("default", "DEFAULT"),
        ("permission", "PERMISSION"),
    )
    show(rows, lambda: table(rows, columns, empty=""))


@policies_app.command("set")
def policies_set(action: str, policy: str, reason: Reason = None, wait: Wait = False) -> None:
    """Set an action's policy; needs approval once a second operator can approve."""
    ask("system.policy_set", {"policy_action": action, "policy": policy}, reason=reason, wait=wait)


@policies_app.command("lower")
def policies_lower(
    action: str,
    to: Annotated[str, typer.Option("--to", metavar="POLICY", help="The policy for as long as the emergency lasts.")],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="For how long, like 30m; 4h at most.")],
    reason: Annotated[str, typer.Option(help="Why; every console shows it.")],
) -> None:
    """Lower a policy for an emergency. It restores itself, whatever becomes of this process."""
    params = {"policy_action": action, "policy": to, "span": for_, "reason": reason}
    ask("system.policy_lower", params, reason=reason)


@policies_app.command("restore")
def policies_restore(action: str, reason: Reason = None) -> None:
    """End a lowering before its time."""
    ask("system.policy_restore", {"policy_action": action}, reason=reason)


@policies_app.command("confirm")
def policies_confirm(lowering: str, reason: Reason = None) -> None:
    """Confirm what ran while a policy was lowered; for an operator who had no part in it. LOWERING is its id."""
    ask("system.policy_confirm", {"lowering": lowering}, reason=reason)


@policies_app.command("lowered")
def policies_lowered(limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 100) -> None:
    """Every lowering, newest first, with what went through meanwhile, for review."""
    from fedtui.core.operations import overrides as lowering

    with viewing() as (_node, session):
        rows = [lowering.shape(session, row) for row in lowering.history(session, limit=limit)]
    columns = (
        ("id", "ID"),
        ("action", "ACTION"),
        ("policy", "TO"),
        ("lowered_by", "BY"),
        ("lowered_at", "FROM"),
        ("until", "UNTIL"),
        ("restored_by", "ENDED BY"),
        ("acts", "ACTS"),
        ("confirmed_by", "CONFIRMED BY"),
        ("reason", "REASON"),
    )
    shown = [{**row, "acts": len(row["went_through"])} for row in rows]
    show(rows, lambda: "\n\n".join([table(shown, columns, empty="No policy was ever lowered."), *_reviewed(rows)]))


def _reviewed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = (("at", "AT"), ("actor", "BY"), ("params", "WHAT"), ("reason", "REASON"))
    return [
        f"{row['action']} while lowered at {text(row['lowered_at'])}:\n{table(row['went_through'], columns, empty='')}"
        for row in rows
        if row["went_through"]
    ]


@manager_app.command("status")
def manager_status() -> None:
    """Whether it works, when it ticked, who holds the lease, how each job went."""
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        shape = serializers.manager(session, node, tuple(node.jobs()))
    show(shape, lambda: _of_the_manager(shape))


def _of_the_manager(shape: Mapping[str, Any]) -> str:
    jobs = (
        ("job", "JOB"),
        ("last_started_at", "STARTED"),
        ("last_finished_at", "FINISHED"),
        ("last_outcome", "OUTCOME"),
        ("last_detail", "DETAIL"),
    )
    daemons = (("id", "DAEMON"), ("url", "LISTENS AT"), ("operations_url", "OPERATIONS"), ("listening_since", "SINCE"))
    notices = shape["notices"]
    told = f"{notices['failing']} not delivered: {notices['last_error']}" if notices["failing"] else "none fails"
    head = {key: value for key, value in shape.items() if key not in ("jobs", "daemons")}
    return "\n\n".join(
        (
            fields({**head, "notices": told if notices["configured"] else "no notify_command"}),
            table(shape["daemons"], daemons, empty="No daemon runs."),
            table(shape["jobs"], jobs, empty=""),
        )
    )


@manager_app.command("pause")
def manager_pause(reason: Reason = None) -> None:
    """Stop carrying out and reconciling; approvals wait."""
    ask("system.manager_pause", {}, reason=reason)


@manager_app.command("resume")
def manager_resume(reason: Reason = None) -> None:
    """Go on."""
    ask("system.manager_resume", {}, reason=reason)


@manager_app.command("tick")
def manager_tick() -> None:
    """Do one tick now, in this process; safe beside the daemon."""
    from fedtui.core.jobs import tasks as jobs

    with opened() as node:
        outcome = jobs.tick_by_hand(node, node.acts, node.actor("cli"))
    show(outcome, lambda: fields(outcome))
