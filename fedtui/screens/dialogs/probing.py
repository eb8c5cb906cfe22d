"""The dialog of a probe: its steps as they end, then what was presented, and every reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.commands import PROBING
from fedtui.screens.shell.data_freshness import trouble

if TYPE_CHECKING:
    from fedtui.core.protocol.probe import Report, Step

LOOK_SECONDS = 0.2
STEPS = {
    "dns": "name",
    "connect": "connection",
    "tls": "TLS",
    "certificate": "its certificate",
    "client_certificate": "our certificate",
}
MARKS = {True: ("✓ ok", "good"), False: ("✗ FAILED", "bad"), None: ("· not tried", "dim")}


class Probing(Dialog[None]):
    """Probes beside the event loop. Closing it ends the looking on; the probe ends by its own limits."""

    places: ClassVar[tuple[str, ...]] = (PROBING,)

    def __init__(
        self, whose: str, probe: Callable[[Callable[[Step], object]], Report], aside: BackgroundWorker
    ) -> None:
        super().__init__()
        self._whose = whose
        self._probe = probe
        self._aside = aside
        self._steps: list[Step] = []
        self._report: Report | None = None
        self._failed: Exception | None = None

    def on_mount(self) -> None:
        """Begin. (Textual calls the dialog's own `on_mount` itself.)"""
        self._clock = self.set_interval(LOOK_SECONDS, self.show)
        self.run_worker(self._run(), exit_on_error=False)

    async def _run(self) -> None:
        try:
            self._report = await self._aside.run(lambda: self._probe(self._steps.append))
        except Exception as error:
            self._failed = error
        self._clock.pause()
        self.show()

    def told(self) -> list[tuple[str, str]]:
        """Whom, the steps, and once it is over the rest."""
        lines: list[tuple[str, str]] = [(f"Probe of {self._whose}", "strong"), ("", "")]
        for step in list(self._steps):
            word, style = MARKS[step.ok]
            lines.append((f"{word} {STEPS.get(step.name, step.name)}: {step.said}", style if step.ok is False else ""))
        if self._failed is not None:
            return [*lines, ("", ""), *trouble(self._failed).told()]
        if self._report is None:
            return [*lines, ("looking …", "dim")]
        return [*lines, ("", ""), *_presented(self._report), *_verdict(self._report)]


def _presented(report: Report) -> list[tuple[str, str]]:
    from fedtui.core.protocol.probe import shape

    lines: list[tuple[str, str]] = []
    found: dict[str, Any] = shape(report)
    for depth, one in enumerate(found["chain"]):
        branch = f"{'   ' * (depth - 1)}└─ " if depth else ""
        names = f" for {', '.join(one['names'])}" if one["names"] else ""
        lines += [
            (f"{branch}{one['subject'] or '(no subject)'}{names}", ""),
            (f"{'   ' * depth}{one['key']}, {one['not_before']:%F} to {one['not_after']:%F}", "dim"),
            (f"{'   ' * depth}{one['fingerprint']}", "dim"),
        ]
    return [*lines, ("", "")] if lines else []


def _verdict(report: Report) -> list[tuple[str, str]]:
    if report.ok:
        return [("✓ Nothing is wrong.", "good")]
    lines: list[tuple[str, str]] = []
    for one in report.faults:
        lines += [(f"✗ {one.code}: {one.words}", "bad"), (f"  fix: {one.fix}", "strong")]
    return lines
