"""Approvals: the review queue. Look at a request, decide it, and the next one comes up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedtui.screens.approval_words import (
    approval_label,
    approval_name,
    columns,
    describe,
    describe_record,
)
from fedtui.screens.commands import APPROVAL, APPROVALS, DETAIL, EVERYWHERE, TABLE, Command
from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.handle import ORIGIN
from fedtui.screens.list_screen import ListScreen
from fedtui.screens.record_screen import RecordScreen
from fedtui.screens.records import Kind, RecordAct
from fedtui.screens.widgets.window import Empty, Window

if TYPE_CHECKING:
    from fedtui.core.acts.overview import ApprovalRecord
    from fedtui.core.control.queue import ApprovalLine
    from fedtui.screens.handle import Shared
    from fedtui.screens.node_handle import NodeHandle

FOR_ME = "for me"
VIEWS = ("open", FOR_ME, "mine", "history")
CANNED = ("not now", "wrong target", "the reason does not convince", "ask again with a narrower scope")
"""Reasons for rejecting that a digit puts in."""
DECIDING = ("approve", "reject")


def _approve(lines: Sequence[ApprovalLine], record: ApprovalRecord | None) -> Question:
    told = []
    if len(lines) == 1 and record is not None:
        changes = (f"{one['what']}: {one['before'] or 'nothing'} → {one['after'] or 'nothing'}"
                   for one in record.shape["changes"])  # fmt: skip
        told = [*changes, f"Asked by {lines[0].requested_by}: {lines[0].reason or 'no reason given'}"]
    critical = record is not None and record.critical
    which = "this request" if len(lines) == 1 else f"{len(lines)} requests"
    return Question(
        f"Approve {which}",
        tuple(told),
        "Approve",
        targets=tuple(map(approval_label, lines)),
        fields=(Field("reason", "Your reason (it cannot be undone)", check=required),) if critical else (),
        dangerous=critical,
    )


def _reject(lines: Sequence[ApprovalLine], _record: Any) -> Question:
    which = "this request" if len(lines) == 1 else f"{len(lines)} requests"
    return Question(
        f"Reject {which}",
        ("It will not happen; the requester reads your reason.",),
        "Reject",
        targets=tuple(map(approval_label, lines)),
        fields=(Field("reason", _canned_label(), check=required, canned=CANNED),),
    )


def _canned_label() -> str:
    return "Reason: type it, or a digit for " + ", ".join(f"{n} {text}" for n, text in enumerate(CANNED, start=1))


def _withdraw(lines: Sequence[ApprovalLine], _record: Any) -> Question:
    which = "your request" if len(lines) == 1 else f"{len(lines)} of your requests"
    return Question(
        f"Withdraw {which}", ("It will not happen.",), "Withdraw", targets=tuple(map(approval_label, lines))
    )


def _retry(lines: Sequence[ApprovalLine], _record: Any) -> Question:
    told = "The manager tries it again at its next tick."
    return Question("Try it again", (told,), "Try again", targets=tuple(map(approval_label, lines)))


def _again(lines: Sequence[ApprovalLine], _record: Any) -> Question:
    told = "It is filed anew by you, as things are now; another operator decides it."
    return Question("Ask again", (told,), "Ask", targets=tuple(map(approval_label, lines)))


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


APPROVAL_ACTS: Mapping[str, RecordAct[ApprovalLine]] = {
    "approve": RecordAct(ask=_approve, doing="Approving", done="approved; the manager takes it up at its next tick",
                         perform=_approve_shown, fits=_in("pending"), needs_record=True),
    "reject": RecordAct(ask=_reject, doing="Rejecting", done="rejected", perform=_decide("reject"),
                        fits=_in("pending")),
    "withdraw": RecordAct(ask=_withdraw, doing="Withdrawing", done="withdrawn", perform=_decide("withdraw"),
                          fits=_in("pending", "approved", "failed")),
    "again": RecordAct(ask=_again, doing="Asking", done="asked for again", perform=_ask_again,
                       fits=_in("expired", "stale", "rejected", "withdrawn")),
    "retry": RecordAct(ask=_retry, doing="Asking", done="to be tried again", perform=_decide("retry"),
                       fits=_in("failed")),
}  # fmt: skip


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


def _refusal(shared: Shared, command: Command, line: ApprovalLine | None) -> str:
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
