"""Acting on peers from the console: what is asked, what reaches the gate, and what is told."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fake_node import (
    INVITE,
    NOW,
    SEEN,
    FakeNode,
    console,
    in_loop,
    page,
    peer,
    rows,
    settled,
    shown,
    table,
    type_in,
    until,
    zoo,
)
from textual import events
from textual.app import App
from textual.pilot import Pilot

from fedtui.core.errors import Refused, Unusable
from fedtui.screens.dialogs.ask import Ask, Question
from fedtui.screens.dialogs.field import Field, Text
from fedtui.screens.dialogs.tell import COPY_LIMIT, SCREEN_PIECE, Secret, Told, clipboard_remark, clipboard_sequence
from fedtui.screens.dialogs.wait import Waiting
from fedtui.screens.peers.screen import PeerScreen, PeersScreen
from fedtui.screens.shell import drafts
from fedtui.screens.shell.help import HelpScreen


async def on_top(pilot: Pilot[None], kind: type) -> None:
    """Wait until a screen of this kind is there, and can be typed into."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and getattr(pilot.app.screen, "ready", True))


def focus(app: App[None]) -> str | None:
    """The id of what has the focus."""
    return app.focused.id if app.focused else None


@in_loop
async def test_proposing_ends_pending() -> None:
    """The form checks the address while it is typed; confirmed, the request waits for approval, and that is said."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("p")
        await on_top(pilot, Ask)
        assert focus(pilot.app) == "field-url"
        assert pilot.app.screen.query_one("#confirm").disabled
        await type_in(pilot, "text:ftp://gamma")
        await until(
            pilot, lambda: "is not an http(s) URL" in page(pilot) or "ftp" in page(pilot).split("Its URL")[1][:60]
        )
        assert pilot.app.screen.query_one("#confirm").disabled
        await type_in(pilot, "home", *["delete"] * 3, "text:https", "enter", "right", "enter", "enter", *"why", "enter")
        await until(pilot, lambda: focus(pilot.app) == "confirm")
        assert node.asked == []
        await pilot.press("enter")
        await until(pilot, lambda: "Waits for approval until 16:00 UTC" in page(pilot))
    params = {"url": "https://gamma", "role": "parent", "mode": "autonomous_peer", "reason": "why"}
    assert node.asked == [("system.federation_peer_propose", params, "why")]


@in_loop
async def test_keys_in_dialogs() -> None:
    """Tab, Shift+Tab and the arrows go round; `y` is a letter in a text and yes elsewhere; Esc cancels."""
    node = FakeNode([peer(1)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("S")
        await on_top(pilot, Ask)
        assert focus(pilot.app) == "field-reason"
        await pilot.press("y", "enter")
        await until(pilot, lambda: focus(pilot.app) == "cancel")
        for key, expected in (
            ("tab", "confirm"),
            ("tab", "field-reason"),
            ("shift+tab", "confirm"),
            ("left", "cancel"),
            ("right", "confirm"),
            ("up", "cancel"),
            ("down", "confirm"),
        ):
            await pilot.press(key)
            await until(pilot, lambda expected=expected: focus(pilot.app) == expected)
        await pilot.press("S")
        assert isinstance(pilot.app.screen, Ask)
        await pilot.press("escape")
        await on_top(pilot, PeersScreen)
        assert node.asked == []
        await pilot.press("S", "y", "enter")
        await until(pilot, lambda: focus(pilot.app) == "cancel")
        await pilot.press("enter")
        await on_top(pilot, PeersScreen)
        assert node.asked == []
        await pilot.press("S", *"yes", "tab", "y")
        await until(pilot, lambda: "■ suspended" in rows(pilot)[0])
        assert node.asked == [("system.federation_peer_suspend", {"peer": peer(1).id, "reason": "yes"}, "yes")]


@in_loop
async def test_nothing_to_fill_in_puts_the_focus_on_cancel() -> None:
    """Resuming asks with Cancel under the finger; the key that opened the dialog does not confirm it."""
    node = FakeNode([peer(1, status="suspended")])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("R")
        await on_top(pilot, Ask)
        assert focus(pilot.app) == "cancel"
        await pilot.press("R", "enter")
        await on_top(pilot, PeersScreen)
        assert node.asked == []
        await pilot.press("R")
        await on_top(pilot, Ask)
        await pilot.press("y")
        await until(pilot, lambda: "accepted" in rows(pilot)[0])


@in_loop
async def test_suspending_the_marks_lists_every_target() -> None:
    """Marks that a filter hides are listed and acted on; those in the wrong state are named and left out."""
    node = FakeNode([peer(1), peer(2), peer(3), peer(4, status="proposed")])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, *["space"] * 4, "slash", "text:000003", "enter", "S")
        await on_top(pilot, Ask)
        assert "1 of 1" in page(pilot)
        assert "3 targets: - peer-000001" in page(pilot)
        assert "Left out, because of their state: peer-000004.example.org (proposed)" in page(pilot)
        await type_in(pilot, "text:moving", "tab", "tab", "enter")
        await until(pilot, lambda: "peer-000003.example.org: suspended." in page(pilot))
        assert [peer(n).id for n in (1, 2, 3)] == [params["peer"] for _, params, _ in node.asked]
        assert table(pilot).marks == (peer(4).id,)


@in_loop
async def test_failures_of_several_are_told_at_once() -> None:
    """Where some of many fail, one dialog names each with its problem."""
    node = FakeNode([peer(1), peer(2)])
    node.refuses = Refused("Another operator was faster.", fix="Look again.")
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("space", "space", "S", *"why", "tab", "tab", "enter")
        await on_top(pilot, Told)
        assert "2 of 2 were refused or failed." in page(pilot)
        assert "peer-000002.example.org: Another operator was faster." in page(pilot)
        await pilot.press("q")
        await on_top(pilot, PeersScreen)
        assert set(table(pilot).marks) == {peer(1).id, peer(2).id}


@in_loop
async def test_what_was_filled_in_for_an_act_that_failed_is_kept() -> None:
    """After a failure the same key asks with what was typed, until it is done; the next time the form is empty."""
    node = FakeNode([])
    node.refuses = Refused("The database is held.", fix="Try again.")
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(
            pilot, "p", "text:https://new.example", "enter", "enter", "enter", "text:as agreed", "enter", "enter"
        )
        await on_top(pilot, Told)
        assert drafts.KEPT in page(pilot)
        node.refuses = None
        await type_in(pilot, "escape", "p")
        await on_top(pilot, Ask)
        assert drafts.AGAIN in page(pilot)
        await type_in(pilot, "enter", "enter", "enter", "enter", "enter")
        await until(pilot, lambda: len(node.asked) == 2)
        assert node.asked[0] == node.asked[1]
        await on_top(pilot, PeersScreen)
        await type_in(pilot, "p")
        await on_top(pilot, Ask)
        assert drafts.AGAIN not in page(pilot)
        assert "new.example" not in page(pilot)


@in_loop
async def test_where_some_of_several_fail_the_rest_is_kept_for_these() -> None:
    """What it is done to loses its mark; what failed keeps it, and the same key asks about these, filled in."""
    node = FakeNode([peer(1), peer(2)])

    def request(actor: str, action: str, params: dict[str, Any], *, reason: str | None = None) -> Any:
        node.refuses = Refused("Not now.", fix="Later.") if params["peer"] == peer(2).id else None
        return FakeNode.request(node, actor, action, params, reason=reason)

    node.request = request  # type: ignore[method-assign]
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, "space", "space", "S", "text:why", "tab", "tab", "enter")
        await on_top(pilot, Told)
        await type_in(pilot, "escape")
        await on_top(pilot, PeersScreen)
        assert table(pilot).marks == (peer(2).id,)
        await type_in(pilot, "S")
        await on_top(pilot, Ask)
        assert "Suspend this peer" in page(pilot)
        assert drafts.AGAIN in page(pilot)
        assert pilot.app.screen.query_one("#field-reason", Text).answer == "why"


@in_loop
async def test_a_name_that_proves_what_is_meant_is_typed_anew() -> None:
    """A revocation that failed asks for the peer's address again; the reason is kept."""
    node = FakeNode([peer(1, "https://bravo.example")])
    node.refuses = Refused("Not now.", fix="Later.")
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, "X", "text:gone", "enter", "text:bravo.example", "enter", "tab", "enter")
        await on_top(pilot, Told)
        await type_in(pilot, "escape", "X")
        await on_top(pilot, Ask)
        asked = {text.field.key: text.answer for text in pilot.app.screen.query(Text)}
        assert asked == {"reason": "gone", "name": ""}


@in_loop
async def test_a_key_that_comes_to_nothing_says_why() -> None:
    """A read that fails behind a key that only looks is told like an act's."""
    node = FakeNode([peer(1)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.broken = Unusable("The node's database did not answer.", cause="gone", fix="See that it is there.")
        await pilot.press("d")
        await on_top(pilot, Told)
        assert "The node's database did not answer. gone See that it is there." in page(pilot)


def test_only_what_was_changed_is_filled_in_again() -> None:
    """What a form showed and nobody touched may have moved on meanwhile: it is shown as it is then."""
    kept = drafts.Drafts()
    first = Question("Edit", (), "Save", fields=(Field("scopes", "", "read"), Field("ttl", "", "30d")))
    kept.keep("grant", first, {"scopes": "read", "ttl": "7d"})
    meanwhile = Question("Edit", (), "Save", fields=(Field("scopes", "", "read, write"), Field("ttl", "", "30d")))
    assert [field.value for field in kept.fill("grant", meanwhile).fields] == ["read, write", "7d"]


@in_loop
async def test_revoking_needs_the_typed_address() -> None:
    """Only the peer's own address, typed out, frees the button; then it waits for another operator."""
    node = FakeNode([peer(1, "https://bravo.example")])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, "X", *"gone", "tab", "text:bravo.exampl")
        await until(pilot, lambda: "This is not its address." in page(pilot))
        await pilot.press("enter", "tab", "y")
        assert node.asked == []
        await type_in(pilot, "escape", "X", *"gone", "tab", "text:bravo.example", "enter")
        await until(pilot, lambda: focus(pilot.app) == "cancel")
        await pilot.press("y")
        await until(pilot, lambda: "Waits for approval" in page(pilot))
        assert node.asked == [("system.federation_peer_revoke", {"peer": peer(1).id, "reason": "gone"}, "gone")]


@in_loop
async def test_a_token_is_shown_once_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    """The invite stands in its dialog until Esc, and is copied on `c`; then no part of the console has it."""
    app = console(FakeNode([peer(1, status="proposed")]))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("t", "tab", "y")
        await on_top(pilot, Secret)
        assert INVITE in "".join(line.strip() for line in shown(pilot))
        assert "It is shown this once" in page(pilot)
        assert INVITE not in repr(pilot.app.screen) + repr(pilot.app) + str(pilot.app.tree)
        await pilot.press("enter", "q", "c")
        await until(pilot, lambda: "Sent to terminal." in page(pilot))
        await pilot.press("escape")
        await on_top(pilot, PeersScreen)
        assert INVITE[:20] not in "".join(shown(pilot))
        assert INVITE[:20] not in app.export_screenshot()
        state = {**vars(app.shared), **vars(app), "texts": [vars(one) for one in app.screen.walk_children()]}
        assert INVITE not in repr(state)
    out, err = capfd.readouterr()
    assert INVITE not in out + err


@in_loop
async def test_a_mangled_invite_is_named() -> None:
    """An invite is checked here while it stands in the form, however it was broken into lines."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await on_top(pilot, Ask)
        await type_in(pilot, "text:nonsense")
        await until(pilot, lambda: "That is not an invite." in page(pilot))
        pilot.app.post_message(events.Paste(f"{INVITE[:60]}\n  {INVITE[60:]}\r\n"))
        await pilot.press("tab", "tab", "tab", "tab", "y")
        await until(pilot, lambda: focus(pilot.app) == "cancel")
        assert pilot.app.screen.query_one("#confirm").disabled


@in_loop
async def test_read_only_refuses_every_act() -> None:
    """A read-only console says so in the band and to every key that acts; looking works."""
    node = FakeNode(zoo())
    async with console(node, read_only=True).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "READ-ONLY" in shown(pilot)[0]
        for key in "patTheSRX":
            await pilot.press(key)
            await until(pilot, lambda: "! This console is read-only." in page(pilot))
            pilot.app.shared.message = ""  # type: ignore[attr-defined]
        await type_in(pilot, "colon", "text:revoke", "enter", "enter")
        await until(pilot, lambda: "from here" not in page(pilot) and "charlie" in page(pilot))
        assert node.asked == []


@in_loop
async def test_the_gate_of_the_console_says_why() -> None:
    """A missing permission, a wrong state and stale data each refuse with their reason; help repeats it."""
    node = FakeNode([peer(1, status="proposed")])
    node.seen = replace(SEEN, permissions=frozenset({"system.federation_peers.view"}))
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("S")
        await until(pilot, lambda: "alice lacks the permission system.federation_peers.manage." in page(pilot))
        node.seen = SEEN
        node.put(peer(2))
        await until(pilot, lambda: app.shared.overview == SEEN, 8)
        await pilot.press("S")
        await until(pilot, lambda: "This is for a peer that is" in page(pilot))
        await pilot.press("G")
        node.broken = OSError("gone")
        await until(pilot, lambda: "STALE" in shown(pilot)[0])
        await pilot.press("X")
        await until(pilot, lambda: "The data are stale: this key works again" in page(pilot))
        assert node.asked == []


@in_loop
async def test_what_went_stale_under_a_dialog_is_not_confirmed() -> None:
    """The table keeps still under a dialog, the band goes on; a dangerous act is refused once data are stale."""
    node = FakeNode([peer(1), peer(2)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("S", *"why")
        await on_top(pilot, Ask)
        reads = node.reads
        node.change(peer(1).id, status="degraded")
        await pilot.pause(0.8)
        assert node.reads == reads
        node.broken = OSError("gone")
        await until(pilot, lambda: "STALE" in shown(pilot)[0])
        await pilot.press("tab", "y")
        await until(pilot, lambda: "The data are stale" in page(pilot))
        assert node.asked == []
        node.broken = None
        await until(pilot, lambda: "live" in shown(pilot)[0])
        await pilot.press("escape")
        await until(pilot, lambda: "▲ degraded" in page(pilot))


@in_loop
async def test_slow_work_can_be_left_and_is_told_later() -> None:
    """Work that takes its time shows how far it is; Esc leaves it after the one at hand, and its outcome is told."""
    node = FakeNode([peer(1), peer(2), peer(3)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(*["space"] * 3, "S", *"why", "tab", "tab")
        await on_top(pilot, Ask)
        node.delay = 0.5
        await pilot.press("y")
        await on_top(pilot, Waiting)
        await until(pilot, lambda: "Suspending" in page(pilot) and "1 of 3" in page(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped: 2 of 3 suspended." in page(pilot))
        assert len(node.asked) == 2


@in_loop
async def test_a_heartbeat_now() -> None:
    """`h` sends one at once and says that it arrived; one that fails says why and what to do."""
    node = FakeNode([peer(1)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("h")
        await until(pilot, lambda: "The peer answered." in page(pilot))
        node.heartbeat_fails = "remote_refused: nothing listens on peer-000001.example.org:443"
        await pilot.press("h")
        await on_top(pilot, Told)
        assert "The heartbeat did not arrive. nothing listens on" in page(pilot)


@in_loop
async def test_confirming_an_endpoint_offers_what_is_declared() -> None:
    """Only endpoints that are not dialled yet are offered; the one chosen reaches the gate."""
    node = FakeNode([peer(1)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("enter", "e")
        await on_top(pilot, Ask)
        assert "(https://10.1.2.3:8443)" in page(pilot)
        await pilot.press("enter", "y")
        await until(pilot, lambda: node.asked)
        assert node.asked[0][1] == {"confirm_endpoint": "https://10.1.2.3:8443", "peer": peer(1).id}


# Typing


@in_loop
async def test_a_burst_of_keys_goes_where_it_was_meant_to() -> None:
    """Keys that arrive all at once open the prompt or the form, and then are typed into it, field by field."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)

        def burst(*keys: str) -> None:
            for key in keys:
                pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))

        burst("colon", *"quiz", "enter", "j")
        await until(pilot, lambda: "There is no command 'quiz'" in page(pilot) and table(pilot).position == (2, 14))
        burst("p", *"https://x.example", "tab", "tab", "tab", *"why", "enter", "enter")
        await until(pilot, lambda: node.asked)
        assert node.asked[0][1]["url"] == "https://x.example"
        assert node.asked[0][1]["reason"] == "why"
        await on_top(pilot, PeersScreen)
        burst("escape", "enter", "escape", "escape", "slash", *"lima", "enter")
        await until(pilot, lambda: "Peers  /lima" in "\n".join(shown(pilot)))


@pytest.mark.parametrize("keys", [("colon",), ("slash",), ("p",), ("a",)], ids=["command", "filter", "form", "invite"])
@in_loop
async def test_a_megabyte_into_an_input_is_refused_whole(keys: tuple[str, ...]) -> None:
    """A paste of 1 MB is said to be too long, at once; what stood there before is still there."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(*keys, *"abc")
        await until(pilot, lambda: isinstance(pilot.app.focused, Text) and pilot.app.focused.value == "abc")
        began = time.process_time()  # what others do on the machine does not count
        pilot.app.post_message(events.Paste("\x1b]0;x\x07y " * 140_000))
        await until(pilot, lambda: "1,120,000 characters are too many" in page(pilot))
        assert time.process_time() - began < 2
        field = pilot.app.focused
        assert isinstance(field, Text)
        assert field.value == "abc"


@in_loop
async def test_what_a_terminal_could_obey_cannot_be_typed() -> None:
    """Escapes, bidirectional overrides and invisible characters in a paste do not get into an input."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(pilot.app.focused, Text))
        pilot.app.post_message(events.Paste("a\x1b[2Jb\u202ec\u115fd\x9be\nf"))
        await until(pilot, lambda: isinstance(pilot.app.focused, Text) and pilot.app.focused.value == "a[2Jbcde f")


@in_loop
async def test_hostile_text_is_harmless_in_dialogs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer's hostile address and a remote's hostile error are spelled out in dialogs, never raw."""
    written: list[str] = []
    node = FakeNode([peer(1, "https://\x1b]0;pwned\x07\u202eevil.example.org")])
    node.refuses = Refused("No\x1b[2J.", cause="[/oops] \u202e\x9b31m")
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        ways: list[tuple[tuple[str, ...], type[object]]] = [
            (("X",), Ask),
            (("escape", "S"), Ask),
            ((*"why", "tab", "y"), Told),
            (("escape", "enter"), PeerScreen),
            (("question_mark",), HelpScreen),
        ]
        for keys, kind in ways:
            before = pilot.app.screen
            await pilot.press(*keys)
            await until(
                pilot,
                lambda kind=kind, before=before: (
                    isinstance(pilot.app.screen, kind)
                    and pilot.app.screen is not before
                    and getattr(pilot.app.screen, "ready", True)
                ),
            )
            written += shown(pilot)
    assert all(line.isprintable() for line in written)
    assert any("No\\x1b[2J." in line for line in written)
    assert any("[/oops] \\u202e\\x9b31m" in line for line in written)


@in_loop
async def test_a_dialog_survives_every_size() -> None:
    """Resized while a dialog is open, its words are wrapped anew and what was typed stays."""
    async with console(FakeNode(zoo())).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await type_in(pilot, "p", "text:https://x")
        await on_top(pilot, Ask)
        for size in ((80, 24), (40, 10), (20, 5), (200, 60), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
        assert "https://x" in page(pilot)
        assert "[ Propose ]" in page(pilot)
        assert focus(pilot.app) == "field-url"


# The clipboard


def test_the_clipboard_sequence_is_sent_plain_and_wrapped_for_multiplexers() -> None:
    """tmux takes the plain form or the wrapped one, by its options, and GNU screen in pieces: both are sent."""
    content = base64.b64encode(b"secret").decode()
    plain = f"\x1b]52;c;{content}\x07"
    assert clipboard_sequence("secret", {}) == plain
    assert clipboard_sequence("secret", {"TMUX": "1"}) == f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
    assert clipboard_sequence("secret", {"TERM": "screen"}) == f"{plain}\x1bP{plain}\x1b\\"
    assert clipboard_sequence("secret", {"STY": "1.pts"}) == f"{plain}\x1bP{plain}\x1b\\"
    long = clipboard_sequence("x" * 3000, {"TERM": "screen.xterm"})
    assert long is not None
    assert all(len(piece) <= SCREEN_PIECE + 2 for piece in long.partition("\x07")[2].split("\x1b\\"))
    assert "set-clipboard on" in clipboard_remark({"TMUX": "1"})
    assert clipboard_sequence("x" * (COPY_LIMIT + 1), {}) is None


@in_loop
async def test_ages_survive_a_clock_that_jumps() -> None:
    """A clock that jumps, back or forwards, changes ages and nothing else: no crash, still live."""
    moment = [NOW]
    async with console(FakeNode(zoo()), now=lambda: moment[0]).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for jump in (timedelta(days=-4000), timedelta(days=4000)):
            moment[0] = NOW + jump
            await pilot.pause(0.7)
            assert shown(pilot)[0].endswith("live")
        assert "4000 d" in page(pilot)
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert shown(pilot)[0].endswith("live")
