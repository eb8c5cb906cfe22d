"""What may have to be done in a hurry, from any screen: it goes through the gate, with a reason."""

from __future__ import annotations

from fake_node import FakeNode, console, in_loop, page, peer, settled, type_in, until, zoo
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.errors import Refused
from fedtui.core.node import Node
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.shell import drafts


async def asked(pilot: Pilot[None], name: str) -> None:
    """Type the command, and wait for its question."""
    await type_in(pilot, "colon", f"text:{name}", "enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and pilot.app.screen.ready, 10)


@in_loop
async def test_the_manager_is_paused_and_resumed_from_any_screen() -> None:
    """Paused and resumed, from the screen that is shown: the core is asked with the reason that was typed."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for name, action in (("pause-manager", "pause"), ("resume-manager", "resume")):
            await asked(pilot, name)
            await type_in(pilot, "text:it makes things worse", "tab", "y")
            await until(pilot, lambda action=action: node.asked and node.asked[-1][0].endswith(action))  # type: ignore[misc]
            assert node.asked[-1][2] == "it makes things worse"
        await type_in(pilot, "colon", "text:restore-policy", "enter")
        await until(pilot, lambda: "No policy is lowered." in page(pilot))
        assert len(node.asked) == 2


@in_loop
async def test_the_reason_of_an_emergency_that_failed_is_kept() -> None:
    """A pause that the gate refuses says why, and asks again with the reason that was given."""
    node = FakeNode([peer(1)])
    node.refuses = Refused("Another program holds the node's database.", fix="Try again.")
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await asked(pilot, "pause-manager")
        await type_in(pilot, "text:it makes things worse", "tab", "y")
        await until(pilot, lambda: isinstance(app.screen, Told) and drafts.KEPT in page(pilot))
        await type_in(pilot, "escape")
        await until(pilot, lambda: not isinstance(app.screen, Told))
        node.refuses = None
        await asked(pilot, "pause-manager")
        await type_in(pilot, "tab", "y")
        await until(pilot, lambda: len(node.asked) == 2)
        assert node.asked[0] == node.asked[1]


@in_loop
async def test_a_policy_is_lowered_and_restored_in_a_real_node(node: Node) -> None:
    """The dialog's answers are what the core takes: lowered for a while, seen in the band, and put back."""
    app = Console(lambda: node, now=node.clock.now)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.shared.overview is not None, 10)
        await asked(pilot, "lower-policy")
        await type_in(pilot, "tab", "tab", "text:bravo is compromised", "tab", "y")
        await until(pilot, lambda: not isinstance(app.screen, Ask), 10)
        await until(pilot, lambda: bool(node.overview().lowered), 10)
        [(action, policy, _)] = node.overview().lowered
        assert (action, policy) == ("system.federation_peer_revoke", "notify_and_proceed")
        await until(pilot, lambda: "LOWERED peer_revoke to notify" in page(pilot), 10)
        await asked(pilot, "restore-policy")
        await type_in(pilot, "tab", "y")
        await until(pilot, lambda: node.overview().lowered == (), 10)
