"""Requests that are stuck: who can move them, and what holds them back."""

from __future__ import annotations

from datetime import timedelta

from fedtui.core.acts.jobs import MANAGER_JOB
from fedtui.core.control.approvals import Approval
from fedtui.core.playbook.causes.own_part import again, job_back
from fedtui.core.playbook.model import Case, Cause, Fix, Sense, sentence

SYMPTOM = "approval_blocked"
LATELY = timedelta(days=1)


def _paused(case: Case) -> Sense | None:
    if not case.fact("manager_paused"):
        return None
    fix = Fix("Resume the SDWAN Manager", "fedtui manager resume", "system.manager_resume", {})
    waits, pause = len(case.fact("approved_waiting", ())), case.fact("pause")
    told = {0: "No approved request waits for it.", 1: "1 approved request waits for it."}
    whose = f"{pause.actor} paused it at {pause.at:%F %H:%M} UTC: {pause.reason or 'no reason given'}." if pause else ""
    return Sense(f"{whose} {told.get(waits, f'{waits} approved requests wait for it.')}".strip(), fixes=(fix,))


def _not_ticking(case: Case) -> Sense | None:
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
    return Sense(said, fixes=(start, Fix("Let it tick once meanwhile, by hand", "fedtui manager tick")))


def _lowered(case: Case) -> Sense | None:
    found = case.fact("lowered", [])
    if not found:
        return None
    fixes = tuple(
        Fix(f"Restore {one['action']}", f"fedtui policies restore {one['action']}", "system.policy_restore",
            {"policy_action": one["action"]})
        for one in found
    )  # fmt: skip
    return Sense(case.outcomes["policies"].said, fixes=fixes)


def _nobody(case: Case) -> Sense | None:
    row = case.fact("approval")
    if row is None or row.status != "pending" or case.fact("can_decide"):
        return None
    fixes = (
        Fix("Let another operator in who can decide",
            "fedtui operators add NAME --permission system.infra_tasks.control"),
        Fix("Where no operator can be let in by anybody, break the glass", "fedtui operators recover"),
    )  # fmt: skip
    why = "; ".join(f"{name} {reason}" for name, reason in case.fact("cannot_decide", {}).items())
    return Sense(f"{sentence(why)} The clock rejects it at {row.expires_at:%H:%M} UTC.".strip(), fixes=fixes)


def _pending(case: Case) -> Sense | None:
    row, can = case.fact("approval"), case.fact("can_decide", [])
    if row is None or row.status != "pending" or not can:
        return None
    fix = Fix(f"Have {' or '.join(can[:3])} decide it",
              f"fedtui approvals approve {row.id} --digest {row.digest[:12]}")  # fmt: skip
    said = f"It waits for {', '.join(can)}; the clock rejects it at {row.expires_at:%H:%M} UTC."
    return Sense(f"{said} {_in_an_emergency(row)}".strip(), fixes=(fix,))


def _timed_out(case: Case) -> Sense | None:
    row = case.fact("approval")
    if row is None or row.status != "expired" or case.fact("asked_again"):
        return None
    recent = row.decided_at is None or case.now - row.decided_at < LATELY
    if not recent and not case.asked:
        return None
    fix = Fix("Ask for it again, and have it decided within four hours", f"fedtui approvals again {row.id}",
              row.action, {"again": row.id})  # fmt: skip
    said = f"{row.requested_by} asked for it; its time was over at {row.expires_at:%F %H:%M} UTC."
    return Sense(f"{said} {_in_an_emergency(row)}".strip(), fixes=(fix,))


def _in_an_emergency(row: Approval) -> str:
    """The runbook's faster path. It is said and not offered: a colleague's no must not lead to it by Enter."""
    if not row.action.startswith("system.federation_"):
        return ""
    lower = f"fedtui policies lower {row.action} --to notify_and_proceed --for 30m --reason R"
    return f"In an emergency it need not wait: {lower}; then ask again, and the clock restores the policy."


CAUSES: tuple[Cause, ...] = (
    Cause("manager_paused", SYMPTOM, "node", "high", 1,
          "The SDWAN Manager is paused: what was approved is not carried out, and nothing is mended by itself.",
          "A pause that is still meant: ask who paused it before you resume it.", "approval-timeout", _paused),
    Cause("manager_not_ticking", SYMPTOM, "node", "high", 2,
          "The SDWAN Manager does not tick, so that approved requests stay where they are.",
          "A tick that takes long because a peer answers slowly.", "approval-timeout", _not_ticking,
          ("sweep_overdue",)),
    Cause("policy_lowered", SYMPTOM, "node", "high", 3,
          "A policy is lowered for an emergency: acts go through that would otherwise wait for approval.",
          "An emergency that is still going on.", "approval-timeout", _lowered),
    Cause("no_eligible_approver", SYMPTOM, "approval", "high", 3,
          "No operator can decide this request: none has the permission, or only the one who asked.",
          "An operator who was removed lately.", "approval-timeout", _nobody),
    Cause("approval_timed_out", SYMPTOM, "approval", "medium", 5,
          "Nobody decided within four hours, and the clock rejected it. Federation acts never approve themselves.",
          "A notice that reached nobody: see notify_command.", "approval-timeout", _timed_out),
    Cause("approval_pending", SYMPTOM, "approval", "low", 6,
          "The request waits for an approver, as it should.", "An approver who is away.", "approval-timeout", _pending),
)  # fmt: skip
