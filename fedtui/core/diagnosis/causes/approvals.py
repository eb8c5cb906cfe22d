"""Requests that are stuck: who can move them, and what holds them back."""

from __future__ import annotations

from datetime import datetime, timedelta

from fedtui.core.administration.manager_pause import MANAGER_JOB
from fedtui.core.diagnosis.causes.node import again, job_back
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match, in_words, sentence
from fedtui.core.operations import approval_status
from fedtui.core.operations.approvals import Approval

SYMPTOM = "approval_blocked"
LATELY = timedelta(days=1)


def _paused(case: CaseContext) -> Match | None:
    if not case.fact("manager_paused"):
        return None
    waits, pause = len(case.fact("approved_waiting", ())), case.fact("pause")
    unless = f", once {pause.actor} no longer means the pause" if pause else ""
    fix = Fix(f"Resume the SDWAN Manager{unless}", "fedtui manager resume", "system.manager_resume", {})
    told = {0: "No approved request waits for it.", 1: "1 approved request waits for it."}
    whose = f"{pause.actor} paused it at {in_words(pause.at)}: {pause.reason or 'no reason given'}." if pause else ""
    return Match(f"{whose} {told.get(waits, f'{waits} approved requests wait for it.')}".strip(), fixes=(fix,))


def _not_ticking(case: CaseContext) -> Match | None:
    late = MANAGER_JOB in case.fact("jobs_late", {}) or MANAGER_JOB in case.fact("jobs_missing", [])
    no_daemon = not case.fact("daemons", ["?"]) and bool(case.fact("approved_waiting"))
    if case.fact("manager_paused") or not (late or no_daemon):
        return None
    last = case.fact("last_tick_at")
    said = f"It ticked last on {last:%F %H:%M:%S} UTC." if last else "It has never ticked."
    if no_daemon:
        start = Fix("Start the daemon", "fedtui serve")
    else:
        start = job_back(case) if MANAGER_JOB in case.fact("jobs_missing", []) else again(case)
    return Match(said, fixes=(start, Fix("Let it tick once meanwhile, by hand", "fedtui manager tick")))


def _lowered(case: CaseContext) -> Match | None:
    found = case.fact("lowered", [])
    if not found:
        return None
    fixes = tuple(
        Fix(
            f"Restore {one['action']}",
            f"fedtui policies restore {one['action']}",
            "system.policy_restore",
            {"policy_action": one["action"]},
        )
        for one in found
    )
    return Match(case.outcomes["policies"].said, fixes=fixes)


def _status(case: CaseContext) -> str:
    """The status of a request as of the clock, whether a process has recorded it yet or not."""
    row: Approval | None = case.fact("approval")
    return approval_status.effective_status(row.status, row.expires_at, case.now) if row is not None else ""


def _nobody(case: CaseContext) -> Match | None:
    row = case.fact("approval")
    if row is None or _status(case) != "pending" or case.fact("can_decide"):
        return None
    fixes = (
        Fix("Add another operator who can decide", "fedtui operators add NAME --permission system.infra_tasks.control"),
        Fix("Where nobody can add an operator, recover access from the service account", "fedtui operators recover"),
    )
    why = "; ".join(f"{name} {reason}" for name, reason in case.fact("cannot_decide", {}).items())
    return Match(f"{sentence(why)} The request times out at {in_words(row.expires_at)}.".strip(), fixes=fixes)


def _pending(case: CaseContext) -> Match | None:
    """A request within its time is no cause: it is named as one only to a person who asks about that request."""
    row, can = case.fact("approval"), case.fact("can_decide", [])
    if row is None or _status(case) != "pending" or not can:
        return None
    fix = Fix(
        f"Ask {' or '.join(can[:3])} to decide it", f"fedtui approvals approve {row.id} --digest {row.digest[:12]}"
    )
    said = (
        f"{row.requested_by} asked for it. {', '.join(can)} can decide it; it times out at {in_words(row.expires_at)}."
    )
    return Match(said, fixes=(fix,), expected=not case.asked)


def _timed_out(case: CaseContext) -> Match | None:
    row = case.fact("approval")
    if row is None or _status(case) != "expired" or case.fact("asked_again"):
        return None
    if not _recent(case, row.expires_at):
        return None
    fix = Fix(
        "Ask for it again, and have it decided within four hours",
        f"fedtui approvals again {row.id}",
        row.action,
        {"again": row.id},
    )
    said = f"{row.requested_by} asked for it; its time was over at {in_words(row.expires_at)}."
    return Match(f"{said} {_in_an_emergency(row)}".strip(), fixes=(fix,))


def _failed(case: CaseContext) -> Match | None:
    row = case.fact("approval")
    if row is None or _status(case) != "failed" or case.fact("asked_again"):
        return None
    ended = row.finished_at or row.decided_at or row.requested_at
    if not _recent(case, ended):
        return None
    error = row.error or {}
    words = " ".join(sentence(str(error.get(key) or "")) for key in ("problem", "cause")).strip()
    advice = str(error.get("fix") or "").strip()
    fixes = (
        *((Fix(sentence(advice).rstrip(".")),) if advice else ()),
        Fix("Once that is mended, have it tried again", f"fedtui approvals retry {row.id}"),
        Fix("Where it is wanted no more, take it back", f"fedtui approvals withdraw {row.id}"),
    )
    said = f"{row.requested_by} asked for it, {row.decided_by or 'its policy'} approved it, and it failed at"
    return Match(f"{said} {in_words(ended)}: {words or 'no error is on record.'}", fixes=fixes)


def _stale(case: CaseContext) -> Match | None:
    row = case.fact("approval")
    if row is None or _status(case) != "stale" or case.fact("asked_again"):
        return None
    ended = row.finished_at or row.decided_at or row.requested_at
    if not _recent(case, ended):
        return None
    again = Fix(
        "Ask for it again, and look at the new request before it is approved",
        f"fedtui approvals again {row.id}",
        row.action,
        {"again": row.id},
    )
    why = sentence(str((row.error or {}).get("cause") or ""))
    return Match(
        f"{row.requested_by} asked for it; it became stale at {in_words(ended)}. {why}".strip(), fixes=(again,)
    )


def _recent(case: CaseContext, ended: datetime) -> bool:
    """Whether a request that ended then is still to be told of; one that is pointed at always is."""
    return case.asked or case.now - ended < LATELY


def _in_an_emergency(row: Approval) -> str:
    """The runbook's faster path. It is said and not offered: a colleague's no must not lead to it by Enter."""
    if not row.action.startswith("system.federation_"):
        return ""
    lower = f"fedtui policies lower {row.action} --to notify_and_proceed --for 30m --reason R"
    return f"In an emergency it need not wait: {lower}; then ask again, and the clock restores the policy."


CAUSES: tuple[Cause, ...] = (
    Cause(
        "manager_paused",
        SYMPTOM,
        "node",
        "high",
        1,
        "The SDWAN Manager is paused: what was approved is not carried out, and nothing is mended by itself.",
        "A pause that is still meant: ask who paused it before you resume it.",
        "approval-timeout",
        _paused,
    ),
    Cause(
        "manager_not_ticking",
        SYMPTOM,
        "node",
        "high",
        2,
        "The SDWAN Manager does not tick, so that approved requests stay where they are.",
        "A tick that takes long because a peer answers slowly.",
        "approval-timeout",
        _not_ticking,
        ("sweep_overdue", "daemon_not_responding", "port_taken"),
    ),
    Cause(
        "policy_lowered",
        SYMPTOM,
        "node",
        "high",
        3,
        "A policy is lowered for an emergency: acts go through that would otherwise wait for approval.",
        "An emergency that is still going on.",
        "approval-timeout",
        _lowered,
    ),
    Cause(
        "no_eligible_approver",
        SYMPTOM,
        "approval",
        "high",
        3,
        "No operator can decide this request: none has the permission, or only the one who asked.",
        "An operator who was removed lately.",
        "approval-timeout",
        _nobody,
    ),
    Cause(
        "approval_timed_out",
        SYMPTOM,
        "approval",
        "medium",
        5,
        "Nobody decided within four hours, and the clock rejected it. Federation acts never approve themselves.",
        "A notice that reached nobody: see notify_command.",
        "approval-timeout",
        _timed_out,
    ),
    Cause(
        "approval_failed",
        SYMPTOM,
        "approval",
        "medium",
        4,
        "The request was approved, and carrying it out failed.",
        "A peer that was unreachable for the moment: a retry tells.",
        "approval-timeout",
        _failed,
        ("token_mistyped", "token_already_used", "token_expired", "token_superseded"),
    ),
    Cause(
        "approval_stale",
        SYMPTOM,
        "approval",
        "medium",
        5,
        "What the request depends on changed after it was filed, so that it was not carried out.",
        "The same act, carried out by another request.",
        "approval-timeout",
        _stale,
    ),
    Cause(
        "approval_pending",
        SYMPTOM,
        "approval",
        "low",
        6,
        "The request waits for an approver, as it should.",
        "An approver who is away.",
        "approval-timeout",
        _pending,
    ),
)
