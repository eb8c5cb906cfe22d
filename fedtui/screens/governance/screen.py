"""Governance: what a scan has found, the gravest on top, and what somebody has taken upon themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.targets import targets
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.governance.view import columns, describe, finding_label, finding_name
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind, RecordAct
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import BY_NAME, DETAIL, EVERYWHERE, FINDING, FINDINGS, TABLE
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.governance.listing import FindingLine
    from fedtui.screens.shell.node_handle import NodeHandle

VIEWS = ("open", "acknowledged", "gone", "all")
SPANS = ("1d", "7d", "30d", "90d")
"""How long an acknowledgement holds, as a choice; the command line takes any other up to 90 days."""
ONCE = "7d"


def _acknowledge(lines: Sequence[FindingLine], _records: Any) -> Question:
    which = "this finding" if len(lines) == 1 else f"{len(lines)} findings"
    return Question(
        f"Acknowledge {which}",
        ("It is no longer counted as open until then, and is open again afterwards, or if it gets graver.",),
        "Acknowledge",
        targets=targets(lines, finding_label),
        fields=(
            Field("reason", "Why nothing is done about it now", check=required),
            Field("span", "For how long", ONCE, choices=SPANS),
        ),
    )


def _perform(node: NodeHandle, line: FindingLine, answers: Answers) -> Any:
    from fedtui.core.runtime import durations

    span = durations.parse(answers["span"])
    return node.acknowledge_finding(node.actor(ORIGIN), line.id, answers["reason"].strip(), span)


def _standing(line: FindingLine) -> str:
    return "" if line.state != "gone" else "This finding is gone: there is nothing to acknowledge."


FINDING_ACTS: Mapping[str, RecordAct[FindingLine]] = {
    "acknowledge": RecordAct(
        ask=_acknowledge, doing="Acknowledging", done="acknowledged", perform=_perform, fits=_standing
    ),
}


class _Findings(Kind["FindingLine"]):
    """Where a finding is settled, its rule says."""

    def refusal(self, name: str, line: FindingLine) -> str:
        """Why a command is not for this finding."""
        if name == "settle" and not line.leads_to:
            return "This finding has no place where it is settled."
        return super().refusal(name, line)


FINDINGS_KIND = _Findings(
    place="governance",
    title="Governance",
    noun="finding",
    acts=FINDING_ACTS,
    first_sort="urgency",
    empty=Empty("No findings here.", ("{state}   Look at those acknowledged, gone, or all", "{scan}   Scan now")),
    columns=columns,
    name=finding_name,
    label=finding_label,
    describe=describe,
    describe_record=lambda _record, _now: (),
    record=lambda node, id: {},
    views=VIEWS,
)


def _settle(screen: Acting[FindingLine]) -> None:
    """Go to where the finding is settled."""
    [id] = screen.selected(BY_NAME["settle"])

    async def go() -> None:
        line = await screen.line_of(id)
        if line is not None and line.leads_to:
            screen.go(line.leads_to)

    screen.app.run_worker(go(), group="act", exit_on_error=False)


class FindingsScreen(ListScreen["FindingLine"]):
    """The live table of findings."""

    kind = FINDINGS_KIND
    places: ClassVar[tuple[str, ...]] = (FINDINGS, TABLE, EVERYWHERE)

    def do_settle(self) -> None:
        """Go to where it is settled."""
        _settle(self)

    def do_state(self) -> None:
        """Look at the next part."""
        self.do_part()

    def do_scan(self) -> None:
        """Scan now."""
        self.app.run_worker(self._scan(), group="act", exit_on_error=False)

    async def _scan(self) -> None:
        node = self.shared.opened_node()
        self.say("Scanning ...")
        try:
            found = await self.shared.acting.run(lambda: node.scan_governance(node.actor(ORIGIN)))
        except Exception as error:
            await self.tell_trouble(error)
            return
        opened = sum(found["open"].values())
        self.say(f"Scanned: {found['appeared']} new, {found['gone']} gone, {opened} open.")

    def do_report(self) -> None:
        """Show the report, to copy."""
        self.app.run_worker(self._report(), group="act", exit_on_error=False)

    async def _report(self) -> None:
        node = self.shared.opened_node()
        try:
            text = await self.shared.aside.run(lambda: _markdown(node))
        except Exception as error:
            await self.tell_trouble(error)
            return
        await self.app.push_screen_wait(Shown("The report, as of now", text))


def _markdown(node: NodeHandle) -> str:
    """The report in Markdown; imports the core, so run it beside the event loop."""
    from fedtui.core.governance.reporting import markdown

    return markdown(node.governance_report())


class FindingScreen(RecordScreen["FindingLine"]):
    """One finding in full."""

    kind = FINDINGS_KIND
    places: ClassVar[tuple[str, ...]] = (FINDING, DETAIL, EVERYWHERE)

    def do_settle(self) -> None:
        """Go to where it is settled."""
        _settle(self)
