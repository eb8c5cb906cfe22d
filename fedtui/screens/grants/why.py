"""Why a call with a grant is refused: what to ask, the checks it went through, and doing what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.checked import Checked
from fedtui.screens.dialogs.field import Field
from fedtui.screens.dialogs.targets import targets
from fedtui.screens.peers.actions import problem_of
from fedtui.screens.records.acting import Acting
from fedtui.screens.shell.commands import BY_NAME
from fedtui.screens.shell.console_context import ORIGIN

if TYPE_CHECKING:
    from fedtui.core.grants.explain import Explanation
    from fedtui.core.grants.listing import GrantLine
    from fedtui.core.views.node_summary import GrantRecord

ISSUE = "system.federation_grant_issue"
METHODS = ("GET", "PUT", "DELETE")
ABOUT_THE_GRANT = (403, 422)
"""Statuses of refusals that are about the grant and its use, not about who called."""


def ask_why(screen: Acting[GrantLine]) -> None:
    """Put a call with the screen's grant through every check."""
    [grant_id] = screen.selected(BY_NAME["why"])
    screen.app.run_worker(_explain(screen, grant_id), group="act", exit_on_error=False)


async def _explain(screen: Acting[GrantLine], grant_id: str) -> None:
    node, shared = screen.shared.opened_node(), screen.shared
    try:
        record = await shared.aside.run(lambda: node.grant_record(grant_id))
        if record is None:
            screen.say("That grant is gone.")
            return
        answers: Answers | None = await screen.app.push_screen_wait(Ask(_call_question(record), aside=shared.aside))
        if answers is None:
            return
        found: Explanation = await shared.aside.run(lambda: node.explain(_described(grant_id, answers)))
        if await screen.app.push_screen_wait(Checked(found, _told(answers))):
            await _fix(screen, found)
    except Exception as error:
        await screen.tell_trouble(error)


def _call_question(record: GrantRecord) -> Question:
    """The call to explain: the last one that was refused, where there is one."""
    refused = next((one for one in record.decisions if one["status"] in ABOUT_THE_GRANT), None)
    context = refused["context"] if refused else {}
    caller = context.get("caller", {})
    told = "Filled in from the last call that was refused." if refused else "What is left empty is as the peer calls."
    return Question(
        "Why: put a call through every check",
        (told,),
        "Check it",
        fields=(
            Field("method", "Call", choices=METHODS, value=context.get("method", METHODS[0])),
            Field("kind", "Resource kind (empty: the grant's)", context.get("kind", "")),
            Field("id", "Resource id", context.get("resource_id", "")),
            _field("instance", "Calling instance (empty: its certificate's)", caller.get("instance_id") or ""),
            _field("network", "Over network", caller.get("network_id") or ""),
            _field("source_ip", "From address", caller.get("source_ip") or ""),
        ),
    )


def _field(name: str, label: str, value: str) -> Field:
    """Where a call comes from, checked while it is typed; it may be left out."""

    def wrong(text: str) -> str:
        from fedtui.core.grants import allowlists

        return problem_of(lambda: allowlists.check_supplied(name, text.strip())) if text.strip() else ""

    return Field(name, label, value, check=wrong)


def _described(grant_id: str, answers: Answers) -> Any:
    from fedtui.core.grants.what_if import HypotheticalRequest

    given = {key: answer.strip() or None for key, answer in answers.items() if key != "method"}
    return HypotheticalRequest(bearer=f"fg-{grant_id}", method=answers["method"], **given)


def _told(answers: Answers) -> str:
    source = f" from {answers['source_ip']}" if answers["source_ip"].strip() else ""
    kind, id = answers["kind"].strip(), answers["id"].strip()
    what = "/".join(part for part in (kind, id) if part) or "(what the grant is for)"
    return f"{answers['method']} {what}{source}"


async def _fix(screen: Acting[GrantLine], found: Explanation) -> None:
    """Ask once more, then make the changes that this node's operator can make."""
    changes = [change for change in found.changes if change.action]
    question = Question(
        "Do what helps",
        ("Each goes through the gate: it may have to be approved.",),
        "Do it",
        targets=targets(changes, lambda change: str(change.title)),
    )
    node, shared = screen.shared.opened_node(), screen.shared
    if shared.read_only:
        screen.say("This console is read-only.")
        return
    answers: Answers | None = await screen.app.push_screen_wait(Ask(question))
    if answers is None:
        return
    for change in changes:
        outcome = await shared.acting.run(
            lambda change=change: node.request(node.actor(ORIGIN), change.action, change.params)  # type: ignore[misc]
        )
        if hasattr(outcome, "approval"):
            screen.say(f"Waits for approval: {change.title}")
        else:
            # A new grant is of use only to who learns its bearer.
            bearer = outcome.result.get("bearer_token") if change.action == ISSUE else None
            screen.say(f"Issued: {bearer}" if bearer else f"Done: {change.title}")
