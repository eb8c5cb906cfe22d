"""What the wizard knows of its incident, and how that is shown: steps, evidence, and the next act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.containers import VerticalScroll

from fedtui import manual
from fedtui.screens.peers.columns import Paragraph, paragraph_lines
from fedtui.screens.playbook import wizard_view
from fedtui.screens.playbook.wizard_actions import WizardActs
from fedtui.screens.shell.commands import Command, with_keys
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.widgets.paint import Lines, paragraphs

if TYPE_CHECKING:
    from fedtui.core.diagnosis.check_runner import CheckResult
    from fedtui.core.diagnosis.engine import Diagnosis
    from fedtui.core.diagnosis.model import Finding, Fix
    from fedtui.core.diagnosis.progress import IncidentState


class WizardView(WizardActs):
    """An incident as it is shown. Subclasses look, mend and go on."""

    def __init__(self, shared: ConsoleContext, what: str) -> None:
        super().__init__(shared)
        self._what = what
        self._everything = what == "everything"
        self._step = "look"
        self._owner = ""
        self._seen: list[CheckResult] = []
        self._found: Diagnosis | None = None
        self._outcome: Mapping[str, Any] | None = None
        self._waiting: Mapping[str, Any] | None = None
        self._over: Mapping[str, Any] | None = None
        self._fix = 0
        self._standing: IncidentState | None = None
        self._settling = False
        self._busy = True  # until it has begun, which Enter must not do a second time
        self._token: str | None = None
        self._failed: Exception | None = None

    @property
    def place(self) -> str:
        """The place: the incident once there is one, so that it can be gone on with."""
        return f"playbook/{self._incident or self._what}"

    def trail(self) -> str:
        """The playbook, and what this is about."""
        return f"Playbook › {self._title or self._what}"

    def remark(self) -> str:
        """Whose it is."""
        return f"{self._owner}   {self._incident[:13]}" if self._incident else ""

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: an incident is needed for what is written into it."""
        reason = super().refusal(command)
        if reason or command.name not in ("note", "escalate", "end-incident", "export-incident", "background"):
            return reason
        if self._over is not None and command.name not in ("export-incident", "background"):
            return "This incident is closed; what is wrong now begins one of its own."
        return "" if self._incident is not None else "A read-only console keeps no incident."

    def tick(self) -> None:
        """Steps, evidence, and the next act."""
        left, right, below = (self.query_one(name, Lines) for name in ("#steps", "#evidence", "#next"))
        told = [*wizard_view.steps(self._step, self._seen), ("", ""), *wizard_view.checks(self._seen)]
        left.present(paragraphs(told, max(left.size.width, 10), margin=0))
        right.present(paragraph_lines(self._evidence(), max(right.size.width, 20)))
        below.present(paragraphs([(self._next(), "notice")], self.size.width, margin=1))

    def _keep_in_sight(self) -> None:
        """Scroll so that the fix that is marked is seen, with what it belongs to."""
        block, room = self.query_one("#evidence", Lines), self.query_one(VerticalScroll)
        marked = (y for y, line in enumerate(block.shown) if any(part.style == "cursor" for part in line.parts))
        room.scroll_to(y=max(next(marked, 0) - room.size.height // 2, 0), animate=False)

    def _evidence(self) -> list[Paragraph]:
        if self._failed is not None:
            return [Paragraph("", text, style) for text, style in trouble(self._failed).told()]
        if self._busy:
            return [*wizard_view.looking(self._seen)]
        if self._over is not None:
            return [*wizard_view.over(self._over)]
        if self._waiting is not None and self._step == "wait":
            return [*wizard_view.waiting(self._waiting)]
        if self._outcome is not None:
            return [*wizard_view.mended(self._outcome)]
        if self._found is not None:
            before = wizard_view.settling() if self._settling else ()
            return [*before, *wizard_view.causes(self._found, self._fix, self._standing)]
        return [Paragraph("", "Reading …", "dim")]

    def _next(self) -> str:
        if self._failed is not None:
            return wizard_view.NEXT["failed"]
        if self._busy:
            return "Looking …"
        if self._mine_to_make:
            return wizard_view.NEXT["make"]
        if self._outcome is not None and self._step != "wait":
            return wizard_view.NEXT["told" if self._outcome["outcome"] == "by_hand" else "prove"]
        if self._step == "cause" and self.shared.read_only:
            return "This console is read-only: it looks, and changes nothing."
        if self._settling and self._standing is not None:
            return wizard_view.NEXT["settling"].format(at=f"{self._standing.settles_at:%H:%M:%S} UTC")
        if self._something_else:
            return with_keys(wizard_view.NEXT["unexplained" if self._everything else "elsewhere"])
        if self._step == "cause" and self._by_hand:
            return with_keys(wizard_view.NEXT["told" if self._told else "by_hand"])
        if self._step == "prove" and self._found is not None and self._found.held:
            return wizard_view.NEXT["held"]
        if self._step == "look" and self._found is not None:
            return wizard_view.NEXT["well" if self._found.seen else "unseen"]
        return wizard_view.NEXT.get(self._step, "")

    @property
    def _by_hand(self) -> bool:
        """Whether the fix that is marked is for a person to do."""
        fixes = self._fixes()
        return self._fix < len(fixes) and fixes[self._fix][1].by_hand

    @property
    def _told(self) -> bool:
        """Whether the fix that is marked is for a person, and was written down before: what is left is to look."""
        from fedtui.core.diagnosis import progress

        if self._standing is None or not self._by_hand:
            return False
        before = progress.tried(self._standing, self._fixes()[self._fix][1])
        return before is not None and before.outcome == "by_hand"

    @property
    def _something_else(self) -> bool:
        """Whether something is wrong, and not what was asked about."""
        return self._step == "look" and self._found is not None and bool(self._found.beside)

    @property
    def _mine_to_make(self) -> bool:
        """Whether what it waits for was approved, and is for this operator to make: what is shown once."""
        known = self._waiting if self._step == "wait" and not self.shared.read_only else None
        asker = known["waiting"].get("claimed_by") if known is not None and known["status"] == "approved" else None
        return asker is not None and asker == self.shared.opened_node().operator

    def do_runbook(self) -> None:
        """Open the runbook's page: of the cause whose fix is marked, else of the first cause, else of the symptom."""
        offered = self._found.offered if self._found else ()
        fixes = self._fixes()
        if offered:
            self.go(f"manual/{(fixes[self._fix][0] if self._fix < len(fixes) else offered[0]).cause.code}")
        else:
            self.go(f"manual/{self._what if manual.known(self._what) else ''}")

    def _fixes(self) -> list[tuple[Finding, Fix]]:
        return [(one, fix) for one in self._found.offered for fix in one.sense.fixes] if self._found else []
