"""The reader of the manual on the console."""

from __future__ import annotations

from fake_node import console, in_loop, page, type_in, until
from test_console_playbook import node
from textual.pilot import Pilot

from fedtui.screens.playbook.wizard import WizardScreen
from fedtui.screens.shell.manual import ManualScreen


@in_loop
async def test_the_prompt_opens_a_page_and_the_list_of_topics() -> None:
    """`:manual TOPIC` opens that page, `:manual` the topics, Esc leads back, and a mistyped topic names the nearest."""

    app = console(node("cause"), place="home")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.shared.overview is not None)
        await _type(pilot, "manual key_missing")
        await until(pilot, lambda: isinstance(app.screen, ManualScreen) and "Private key missing" in page(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ManualScreen))
        await _type(pilot, "manual")
        await until(pilot, lambda: isinstance(app.screen, ManualScreen) and "several-machines" in page(pilot))
        await pilot.press("escape")
        await _type(pilot, "manual key_mising")
        await until(pilot, lambda: "Did you mean key_missing?" in page(pilot))


@in_loop
async def test_the_wizard_opens_the_page_of_its_cause() -> None:
    """`m` in the wizard opens the runbook's page of the cause whose fix is marked, and Esc leads back to the wizard."""

    app = console(node("cause"), place="playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "remote_unreachable" in page(pilot))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ManualScreen) and "Peer unreachable" in page(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, WizardScreen))


async def _type(pilot: Pilot[None], command: str) -> None:
    await pilot.press("colon")
    await type_in(pilot, f"text:{command}")
    await pilot.press("enter")
