"""Acts on many records: everything that is confirmed was on the screen before, with what it changes and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fake_access import record_of, request
from fake_node import FakeNode, console, in_loop, page, peer, until
from test_console_dialogs import on_top
from test_console_rules import arrive
from textual.pilot import Pilot

from fedtui.core.operations.approval_queue import ApprovalLine
from fedtui.core.operations.gate import Done
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.targets import Exposure
from fedtui.screens.widgets.press import Press

MANY = 14


class Queue(FakeNode):
    """A node with requests in its queue; each decision is kept in `decided`."""

    def __init__(self, requests: Sequence[ApprovalLine]) -> None:
        super().__init__([peer(1)])
        self.decided: list[str] = []
        self.others = {"approvals": {one.id: one for one in requests}}
        for one in requests:
            record = record_of(one)
            record.shape["changes"] = [{"what": f"peer-{one.id[-2:]}.example", "before": "", "after": "proposed"}]
            self.records[one.id] = record

    def approve(self, actor: Any, approval_id: str, digest: str, *, reason: str | None = None) -> Done:
        """Keep that it was approved."""
        assert digest == self.others["approvals"][approval_id].digest
        self.decided.append(approval_id)
        return Done({})

    def decide(self, actor: Any, what: str, approval_id: str, *words: str) -> Done:
        """Keep that it was decided."""
        self.decided.append(approval_id)
        return Done({})


def queue(count: int = MANY) -> Queue:
    """Requests of one kind, each with a reason of its own."""
    return Queue(
        [
            request(n, f"Propose to peer with https://peer-{n:02d}.example.", reason=f"contract {n:02d}")
            for n in range(1, count + 1)
        ]
    )


async def ask_about_all(pilot: Pilot[None], key: str) -> Ask:
    """Mark every request, and press the key of an act."""
    await arrive(pilot, "approvals")
    await pilot.press(*["space"] * MANY, key)
    dialog = await on_top(pilot, Ask)
    assert isinstance(dialog, Ask)
    return dialog


def pages_down(pilot: Pilot[None]) -> int:
    """More pages than any of these dialogs has on this terminal."""
    return 5 * MANY


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50), (60, 12)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("key", "answer"), [("A", ""), ("D", "2"), ("W", "")], ids=["approve", "reject", "withdraw"])
@in_loop
async def test_nothing_is_decided_before_all_was_on_the_screen(key: str, answer: str, size: tuple[int, int]) -> None:
    """Every request is listed with change and reason; neither `y` nor Enter nor a click decides before all of them
    were in view, and the dialog says how many were."""
    node = queue()
    if key == "W":
        node.operator = "bob"
    app = console(node, place="approvals")
    async with app.run_test(size=size) as pilot:
        dialog = await ask_about_all(pilot, key)
        if answer:
            await pilot.press(answer)
        confirm = dialog.query_one("#confirm", Press)
        confirm.focus()
        seen = page(pilot)
        for _ in range(pages_down(pilot)):
            if not confirm.disabled:
                break
            assert f"of {MANY} seen: PgDn" in seen
            assert dialog.focused is not confirm
            dialog.action_confirm()
            confirm.action_press()
            await pilot.press("pagedown")
            await pilot.pause()
            seen += " " + page(pilot)
        assert node.decided == []
        assert app.screen is dialog
        for number in range(1, MANY + 1):
            assert f"peer-{number:02d}.example: nothing → proposed" in seen
            assert f"Requested by bob: contract {number:02d}" in seen
        assert "seen: PgDn" not in page(pilot)
        confirm.focus()
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: len(node.decided) == MANY)


@in_loop
async def test_a_few_that_fit_are_confirmed_at_once() -> None:
    """Where everything is in view from the first, nothing need be scrolled, and one key confirms."""
    node = queue(2)
    app = console(node, place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "approvals")
        await pilot.press("space", "space", "A")
        await on_top(pilot, Ask)
        assert "PgDn" not in page(pilot)
        await pilot.press("y")
        await until(pilot, lambda: len(node.decided) == 2)


@in_loop
async def test_other_acts_on_many_wait_until_all_were_seen_too() -> None:
    """Suspending thirty peers takes having seen thirty names; a typed reason and Enter lead on through them."""
    node = FakeNode([peer(n) for n in range(1, 31)])
    app = console(node, place="peers")
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        await pilot.press(*["space"] * 30, "S")
        dialog = await on_top(pilot, Ask)
        assert "of 30 seen: PgDn" in page(pilot)
        await pilot.press(*"why")
        for _ in range(30):
            if dialog.focused is dialog.query_one("#cancel"):
                break
            await pilot.press("enter")
            await pilot.pause()
            assert node.asked == []
        assert not dialog.query_one("#confirm").disabled
        await pilot.press("y")
        await until(pilot, lambda: len(node.asked) == 30)


def test_a_block_counts_once_all_its_lines_were_in_view() -> None:
    """Half a block is not seen; what was seen stays so when the text is wrapped anew, and the rest begins anew."""
    exposure = Exposure()
    exposure.wrap([1, 3, 2])
    assert exposure.expose(range(3))
    assert (exposure.seen(2), exposure.complete) == (0, False)
    assert exposure.expose(range(3, 5))
    assert exposure.seen(2) == 1
    exposure.wrap([1, 5, 4])
    assert exposure.seen(2) == 1
    assert not exposure.expose(range(6, 9))
    assert exposure.expose(range(9, 10))
    assert exposure.complete
