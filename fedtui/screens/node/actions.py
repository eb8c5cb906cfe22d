"""What may have to be done in a hurry, from any screen: the manager paused, a policy lowered, and both put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.field import Field
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.node.action import WHY, ActingScreen, NodeAct
from fedtui.screens.node.forms import FORM_ACTS
from fedtui.screens.node.operators import OPERATOR_ACTS
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.shell.data_freshness import UNDONE, trouble
from fedtui.screens.shell.next_step import waits_for_approval

if TYPE_CHECKING:
    from fedtui.screens.shell.commands import Command
    from fedtui.screens.shell.console_context import ConsoleContext

SPANS = ("15m", "30m", "1h", "2h", "4h")
FIRST_LOWERED = "system.federation_peer_revoke"
NOTIFY = "notify_and_proceed"


def _pause(_shared: ConsoleContext) -> Question:
    told = "It carries out nothing and reconciles nothing, until somebody resumes it (:resume-manager)."
    return Question("Pause the SDWAN Manager", (told,), "Pause it", fields=(WHY,), dangerous=True)


def _resume(_shared: ConsoleContext) -> Question:
    told = "It takes up what was approved meanwhile, and reconciles again, from its next tick on."
    return Question("Resume the SDWAN Manager", (told,), "Resume it", fields=(WHY,))


def _lower(_shared: ConsoleContext) -> Question:
    from fedtui.core.operations.policies import ASK, RULES

    gated = sorted(action for action, rule in RULES.items() if rule.policy == ASK and not rule.never_lowered)
    told = (
        "It then runs without approval. All consoles count down, the clock restores it, and what went through is kept."
    )
    return Question(
        "EMERGENCY: lower a policy",
        (told,),
        "Lower it",
        dangerous=True,
        fields=(
            Field("policy_action", "Action (Left, Right)", FIRST_LOWERED, choices=gated),
            Field("span", "For how long", SPANS[1], choices=SPANS),
            WHY,
        ),
    )


def _restore(shared: ConsoleContext) -> Question:
    lowered = [action for action, _, _ in shared.overview.lowered] if shared.overview is not None else []
    if not lowered:
        return Question("", ("No policy is lowered.",), "")
    told = "From now on it is again as it was before it was lowered."
    which = Field("policy_action", "Action", lowered[0], choices=lowered)
    return Question("Restore a policy", (told,), "Restore it", fields=(which,))


def _confirm(shared: ConsoleContext) -> Question:
    rows = [row for row in shared.opened_node().lowerings() if row["went_through"] and not row["confirmed_at"]]
    if not rows:
        return Question("", ("Nothing that ran under a lowered policy is left to confirm.",), "")
    ids = [str(row["id"]) for row in rows]
    note = "What was changed of policies, settings and operators is undone when the lowering ends, unless confirmed."
    return Question(
        "Confirm what ran under a lowered policy",
        (*(line for row in rows for line in _acts(row)), note),
        "Confirm",
        fields=(Field("lowering", "Lowering (Left, Right)", ids[0], choices=ids), WHY),
    )


def _acts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Which policy was lowered, by whom and why, and what ran meanwhile, a line each."""
    acts = (
        f"{act['at']:%F %H:%M} UTC, {act['actor']}: "
        + (", ".join(f"{name} {value}" for name, value in (act["params"] or {}).items()) or row["action"])
        for act in row["went_through"]
    )
    lowered = f"{row['lowered_at']:%F %H:%M} UTC by {row['lowered_by']}: {row['reason']}"
    return (f"{row['id']}: {row['action']} was lowered {lowered}", *acts)


EMERGENCIES: Mapping[str, NodeAct] = {
    "pause-manager": NodeAct(_pause, "system.manager_pause", "The SDWAN Manager is paused."),
    "resume-manager": NodeAct(_resume, "system.manager_resume", "The SDWAN Manager works again."),
    "lower-policy": NodeAct(
        _lower,
        "system.policy_lower",
        "It is lowered. :restore-policy puts it back.",
        lambda _shared, answers: {**answers, "policy": NOTIFY},
    ),
    "restore-policy": NodeAct(_restore, "system.policy_restore", "It is as it was before it was lowered."),
    "confirm-lowered": NodeAct(
        _confirm,
        "system.policy_confirm",
        "Confirmed. What was done under it stays.",
        lambda _shared, answers: {"lowering": answers["lowering"]},
    ),
}


NODE_ACTS: Mapping[str, NodeAct] = {**EMERGENCIES, **OPERATOR_ACTS, **FORM_ACTS}
"""What is done to the node as a whole, from any screen."""


def begin(screen: ActingScreen, command: Command) -> None:
    """Ask, and act, beside whatever else goes on."""
    screen.shared.ahead.expecting = True
    screen.app.run_worker(_act(screen, command), group="act", exit_on_error=False)


async def _act(screen: ActingScreen, command: Command) -> None:
    shared, row, draft = screen.shared, NODE_ACTS[command.name], command.name
    node = shared.opened_node()
    try:
        question = await shared.aside.run(lambda: row.ask(shared))
        if not question.confirm:
            shared.ahead.forget()
            screen.say(" ".join(question.happens))
            return
        question = shared.drafts.fill(draft, question)
        asked = screen.app.push_screen(Ask(question, refusal=lambda: shared.refusal(command)), wait_for_dismiss=True)
        shared.ahead.expecting = False
        answers: Answers | None = await asked
        if answers is None:
            return
        given = row.params(shared, answers)
        with shared.drafts.until_done(draft, question, answers):
            done: Any = await shared.acting.run(
                lambda: node.request(node.actor(ORIGIN), row.action, given, reason=answers.get("reason"))
            )
        waits = getattr(done, "approval", None)
        done_text = row.done if row.done is not None else node.form(row.action, command.name).done
        screen.say(waits_for_approval([waits]) if waits else done_text)
    except Exception as error:
        shared.ahead.forget()
        await screen.app.push_screen_wait(Told(trouble(error, what=UNDONE), remark=shared.drafts.kept(draft)))
