"""Approvals: the review queue. Look at a request, decide it, and the next one comes up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedtui.screens.approvals.view import (
    approval_details,
    approval_label,
    approval_name,
    columns,
    describe,
    describe_record,
)
from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.targets import Target, targets
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind, RecordAct
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import APPROVAL, APPROVALS, DETAIL, EVERYWHERE, TABLE, Command
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.widgets.window import Empty, Window

if TYPE_CHECKING:
    from fedtui.core.operations.approval_queue import ApprovalLine
    from fedtui.core.views.node_summary import ApprovalRecord
    from fedtui.screens.shell.console_context import ConsoleContext
    from fedtui.screens.shell.node_handle import NodeHandle

Records = Mapping[str, "ApprovalRecord"]
FOR_ME = "for me"
VIEWS = ("open", FOR_ME, "mine", "history")
CANNED = ("not now", "wrong target", "the reason does not convince", "ask again with a narrower scope")
"""Reasons for rejecting that a digit puts in."""
DECIDING = ("approve", "reject")


def _shown(lines: Sequence[ApprovalLine], records: Records) -> tuple[Target, ...]:
    """Each request with all that its decision is about: what it changes, why it was asked for, what has changed."""
    return targets(lines, approval_label, lambda line: approval_details(line, records.get(line.id)))


def _approve(lines: Sequence[ApprovalLine], records: Records) -> Question:
    critical = any(records[line.id].critical for line in lines if line.id in records)
    which = "this request" if len(lines) == 1 else f"{len(lines)} requests"
    return Question(
        f"Approve {which}",
        (),
        "Approve",
        targets=_shown(lines, records),
        fields=(Field("reason", "Your reason (it cannot be undone)", check=required),) if critical else (),
        dangerous=critical,
    )


def _reject(lines: Sequence[ApprovalLine], records: Records) -> Question:
    which = "this request" if len(lines) == 1 else f"{len(lines)} requests"
    return Question(
        f"Reject {which}",
        ("It will not happen; the requester reads your reason.",),
        "Reject",
        targets=_shown(lines, records),
        fields=(Field("reason", _canned_label(), check=required, canned=CANNED),),
    )


def _canned_label() -> str:
    return "Reason: type it, or a digit for " + ", ".join(f"{n} {text}" for n, text in enumerate(CANNED, start=1))


def _withdraw(lines: Sequence[ApprovalLine], records: Records) -> Question:
    which = "your request" if len(lines) == 1 else f"{len(lines)} of your requests"
    return Question(f"Withdraw {which}", ("It will not happen.",), "Withdraw", targets=_shown(lines, records))


def _retry(lines: Sequence[ApprovalLine], records: Records) -> Question:
    told = "The manager tries it again at its next tick."
    return Question("Try it again", (told,), "Try again", targets=_shown(lines, records))


def _again(lines: Sequence[ApprovalLine], records: Records) -> Question:
    told = "It is filed anew by you, as things are now; another operator decides it."
    return Question("Ask again", (told,), "Ask", targets=_shown(lines, records))


def _ask_again(node: NodeHandle, line: ApprovalLine, _answers: Answers) -> Any:
    return node.request(node.actor(ORIGIN), line.action, {"again": line.id}, reason=line.reason)


def _decide(what: str) -> Callable[[NodeHandle, ApprovalLine, Answers], Any]:
    def perform(node: NodeHandle, line: ApprovalLine, answers: Answers) -> Any:
        words = [answers["reason"].strip()] if answers.get("reason", "").strip() else []
        return node.decide(node.actor(ORIGIN), what, line.id, *words)

    return perform


def _approve_shown(node: NodeHandle, line: ApprovalLine, answers: Answers) -> Any:
    """By the digest of what the dialog showed."""
    return node.approve(node.actor(ORIGIN), line.id, line.digest, reason=answers.get("reason", "").strip() or None)


def _in(*states: str) -> Callable[[ApprovalLine], str]:
    def fits(line: ApprovalLine) -> str:
        wanted = " or ".join(states)
        return "" if line.status in states else f"This request is {line.status}; this is for one that is {wanted}."

    return fits


def _act(ask: Any, doing: str, done: str, perform: Any, *states: str) -> RecordAct[ApprovalLine]:
    return RecordAct(ask=ask, doing=doing, done=done, perform=perform, fits=_in(*states), needs_records=True)


APPROVAL_ACTS: Mapping[str, RecordAct[ApprovalLine]] = {
    "approve": _act(
        _approve, "Approving", "approved; the manager takes it up at its next tick", _approve_shown, "pending"
    ),
    "reject": _act(_reject, "Rejecting", "rejected", _decide("reject"), "pending"),
    "withdraw": _act(_withdraw, "Withdrawing", "withdrawn", _decide("withdraw"), "pending", "approved", "failed"),
    "again": _act(_again, "Asking", "asked for again", _ask_again, "expired", "stale", "rejected", "withdrawn"),
    "retry": _act(_retry, "Asking", "to be tried again", _decide("retry"), "failed"),
}


def _same(name: str, lines: Sequence[ApprovalLine]) -> str:
    """Several are approved together only where one look can take them in."""
    actions = sorted({line.action for line in lines})
    if name != "approve" or len(actions) < 2:
        return ""
    return f"Only requests of the same kind are approved together; these are {', '.join(map(_short, actions))}."


def _short(action: str) -> str:
    return action.removeprefix("system.").removeprefix("federation_")


APPROVALS_KIND: Kind[ApprovalLine] = Kind(
    place="approvals",
    title="Approvals",
    noun="request",
    acts=APPROVAL_ACTS,
    first_sort="deadline",
    empty=Empty("No requests here.", ("{part}   Look at the next part: open, for me, mine, history",)),
    columns=columns,
    name=approval_name,
    label=approval_label,
    describe=describe,
    describe_record=describe_record,
    record=lambda node, id: node.approval_record(id),
    views=VIEWS,
    same=_same,
)


def _refusal(shared: ConsoleContext, command: Command, line: ApprovalLine | None) -> str:
    """Four eyes, and whose request it is, before anything is asked."""
    if line is None or shared.node is None:
        return ""
    own = line.requested_by == shared.node.operator
    alone = shared.overview is not None and shared.overview.single_operator
    if command.name in DECIDING and own and not alone:
        return "Nobody decides their own request; another operator has to."
    if command.name == "withdraw" and not own:
        return f"Only {line.requested_by}, who asked, can withdraw it; you can reject it."
    return ""


class ApprovalsScreen(ListScreen["ApprovalLine"]):
    """The live queue."""

    kind = APPROVALS_KIND
    places: ClassVar[tuple[str, ...]] = (APPROVALS, TABLE, EVERYWHERE)

    def refusal(self, command: Command) -> str:
        """Besides what holds for every list: nobody decides their own."""
        reason = super().refusal(command)
        marked = command.target == "marks" and self._table.marks
        return reason or ("" if marked or not command.target else _refusal(self.shared, command, self._table.current))

    def on_window_opened(self, message: Window.Opened) -> None:
        """Show the request on a screen of its own, which goes on through this view."""
        self.shared.view = self._table.asked.view
        super().on_window_opened(message)


class ApprovalScreen(RecordScreen["ApprovalLine"]):
    """One request in full; the next and the one before are a key away."""

    kind = APPROVALS_KIND
    places: ClassVar[tuple[str, ...]] = (APPROVAL, DETAIL, EVERYWHERE)

    def refusal(self, command: Command) -> str:
        """Besides what holds for every record: nobody decides their own."""
        reason = super().refusal(command)
        return reason or (_refusal(self.shared, command, self._look.line) if command.target else "")

    def acted(self, ids: Sequence[str], *, all_done: bool) -> None:
        """Decided: the next one comes up."""
        if all_done:
            self._step(FOR_ME, forwards=True, at_end="That was the last one for you.")

    def do_next_one(self) -> None:
        """The next request."""
        self._step(self._view, forwards=True, at_end="This is the last one.")

    def do_one_before(self) -> None:
        """The request before."""
        self._step(self._view, forwards=False, at_end="This is the first one.")

    @property
    def _view(self) -> str:
        return self.shared.view or VIEWS[0]

    def _step(self, view: str, *, forwards: bool, at_end: str) -> None:
        self.app.run_worker(self._step_on(view, forwards, at_end), group="step", exclusive=True, exit_on_error=False)

    async def _step_on(self, view: str, forwards: bool, at_end: str) -> None:
        node, here = self.shared.opened_node(), self._look.line
        if here is None:
            return
        try:
            beside = await self.shared.aside.run(lambda: node.approval_beside(here.id, view, forwards=forwards))
        except Exception as error:
            await self.tell_trouble(error)
            return
        if beside is None:
            self.say(at_end)
        else:
            self.look_at(beside)
