"""Grants: what peers may use, what runs out first on top; and why a call is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fedtui.screens.acting import Acting
from fedtui.screens.commands import BY_NAME, DETAIL, EVERYWHERE, GRANT, GRANTS, TABLE, key_names
from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.checked import Checked
from fedtui.screens.dialogs.field import Field
from fedtui.screens.grant_acts import GRANT_ACTS
from fedtui.screens.grant_words import columns, describe, describe_record, grant_label, grant_name
from fedtui.screens.list_screen import ListScreen
from fedtui.screens.record_screen import RecordScreen
from fedtui.screens.records import ORIGIN, Kind
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.access.explain import Explanation
    from fedtui.core.access.listing import GrantLine
    from fedtui.core.acts.overview import GrantRecord

METHODS = ("GET", "PUT", "DELETE")
ABOUT_THE_GRANT = (403, 422)
"""Statuses of refusals that are about the grant and its use, not about who called."""

GRANTS_KIND: Kind[GrantLine] = Kind(
    place="grants",
    title="Grants",
    noun="grant",
    acts=GRANT_ACTS,
    first_sort="expiry",
    empty=Empty("No grants yet.", (f"{key_names(BY_NAME['issue'])[0]}   {BY_NAME['issue'].help}",)),
    columns=columns,
    name=grant_name,
    label=grant_label,
    describe=describe,
    describe_record=describe_record,
    record=lambda node, id: node.grant_record(id),
)


def _why(screen: Acting[GrantLine]) -> None:
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
            Field("id", "Resource id", context.get("resource_id", "")),
            Field("instance", "Calling instance (empty: its certificate's)", caller.get("instance_id") or ""),
            Field("network", "Over network", caller.get("network_id") or ""),
            Field("source_ip", "From address", caller.get("source_ip") or ""),
        ),
    )


def _described(grant_id: str, answers: Answers) -> Any:
    from fedtui.core.acts.what_if import Described

    given = {key: answer.strip() or None for key, answer in answers.items() if key != "method"}
    return Described(bearer=f"fg-{grant_id}", method=answers["method"], **given)


def _told(answers: Answers) -> str:
    source = f" from {answers['source_ip']}" if answers["source_ip"].strip() else ""
    return f"{answers['method']} {answers['id'].strip() or '(any resource of the kind)'}{source}"


async def _fix(screen: Acting[GrantLine], found: Explanation) -> None:
    """Ask once more, then make the changes that this node's operator can make."""
    changes = [change for change in found.changes if change.action]
    question = Question(
        "Do what helps",
        ("Each goes through the gate: it may have to be approved.",),
        "Do it",
        targets=tuple(change.title for change in changes),
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
        waits = hasattr(outcome, "approval")
        screen.say(f"Waits for approval: {change.title}" if waits else f"Done: {change.title}")


class GrantsScreen(ListScreen["GrantLine"]):
    """The live table of grants."""

    kind = GRANTS_KIND
    places: ClassVar[tuple[str, ...]] = (GRANTS, TABLE, EVERYWHERE)

    def do_why(self) -> None:
        """Why a call is refused."""
        _why(self)


class GrantScreen(RecordScreen["GrantLine"]):
    """One grant in full."""

    kind = GRANTS_KIND
    places: ClassVar[tuple[str, ...]] = (GRANT, DETAIL, EVERYWHERE)

    def do_why(self) -> None:
        """Why a call is refused."""
        _why(self)
