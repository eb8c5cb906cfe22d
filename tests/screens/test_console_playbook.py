"""The playbook and the wizard on the console: what they look like, and a whole run on a real node, by keys alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fake_node import NOW, FakeNode, console, in_loop, page, type_in, until, zoo
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.acts import gate
from fedtui.core.control.approvals import Approval
from fedtui.core.node import Node, open_node
from fedtui.core.playbook import causes
from fedtui.core.playbook.checks import CHECKS
from fedtui.core.playbook.engine import Diagnosis, Seen
from fedtui.core.playbook.model import Evidence, Finding, Fix, Outcome, Sense, Subject
from fedtui.core.playbook.survey import NODE, Wanted
from fedtui.core.playbook.wizard import Standing
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.playbook import PlaybookScreen
from fedtui.screens.wizard import WizardScreen
from tests.conftest import START, MakeNode
from tests.core.test_playbook import alive
from tests.core.world import make_world

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
ID = "01950000-0000-7000-c000-000000000001"
BRAVO = Subject("peer", "01950000-0000-7000-8000-000000000001", "https://bravo.example.org", "p")
BY_CHECK = {check.name: check for check in CHECKS}


def seen(name: str, state: Any, said: str, subject: Subject = NODE) -> Seen:
    """A check that came to this."""
    evidence = (Evidence("status", "degraded", "peers", NOW), Evidence("last heartbeat from it", NOW, "peers", NOW))
    return Seen(subject, BY_CHECK[name], Outcome(state, said, evidence if name == "record" else ()))


def sick() -> Diagnosis:
    """A peer that cannot be reached, and has not been for a day."""
    start = Fix("Have its operator start its daemon; its next heartbeat does the rest", "fedtui serve", where="there")
    rest = Fix("Suspend it, to stop the noise", "fedtui peers suspend ...", "system.federation_peer_suspend", {})
    found = (
        Finding(causes.BY_CODE["remote_unreachable"], BRAVO, Sense("Nothing listens at 192.0.2.7:8443.", (), (start,))),
        Finding(causes.BY_CODE["gone_over_24h"], BRAVO, Sense("It has been degraded for 1 d 6 h.", (), (rest,))),
    )
    looked = (
        seen("daemon", "ok", "A daemon listens at https://alpha.example.org:8443."),
        seen("schedule", "ok", "Every job runs when it should."),
        seen("sweep_endpoint", "skipped", "No worker token is set."),
        seen("record", "ok", "It is degraded.", BRAVO),
        seen("probe", "bad", "Nothing listens at 192.0.2.7:8443.", BRAVO),
        seen("their_view", "skipped", "Not looked at: probe comes first.", BRAVO),
    )
    return Diagnosis(NOW, 0.4, looked, found)


def incident(**more: Any) -> dict[str, Any]:
    """The incident of the tests."""
    return {
        "id": ID, "title": "A peer was active and is degraded", "owner": "alice",
        "opened_at": NOW - timedelta(minutes=4),
        "causes": ["remote_unreachable"], "outcome": None, "seconds_to_diagnosis": 2.0, "seconds_to_fix": None,
        "closed_by": None, "closed_at": None, **more,
    }  # fmt: skip


def node(state: str) -> FakeNode:
    """A fake node whose incident is in this state."""
    made = FakeNode(zoo()[:2])
    made.incident_shapes = [incident()]
    made.diagnosed = sick()
    made.stands = Standing(ID, "cause", "alice")
    if state == "done":
        ended = {"outcome": "fixed", "seconds_to_fix": 95.0, "closed_by": "alice", "closed_at": NOW}
        made.incident_shapes = [incident(**ended)]
        made.stands = Standing(ID, "done", "alice", outcome="fixed")
        made.diagnosed = Diagnosis(NOW, 0.1, sick().seen[:3], ())
    if state == "wait":
        made.stands = Standing(ID, "wait", "bob", "a-1", "pending")
        waits = {
            "can_decide": ["carol"],
            "cannot_decide": {"alice": "asked for it, and nobody decides their own request"},
        }
        shape = {"id": "01950000-0000-7000-9000-000000000001", "status": "pending", "waiting": waits,
                 "summary": "Sign a new certificate for https://bravo.example.org.",
                 "expires_at": NOW + timedelta(hours=3)}  # fmt: skip
        made.records["a-1"] = type("Record", (), {"shape": shape})()
    return made


LOOKS = {
    "playbook": ("playbook", "cause", "Go on: A peer was active"),
    "wizard-cause": ("playbook/degraded", "cause", "remote_unreachable"),
    "wizard-wait": (f"playbook/{ID}", "wait", "Can decide"),
    "wizard-done": (f"playbook/{ID}", "done", "Fixed"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKS)
def test_looks(snap_compare: Compare, name: str, size: str) -> None:
    """The symptoms, a cause with its evidence, a fix that waits, and the end; at both sizes."""
    place, state, words = LOOKS[name]
    app = console(node(state), place=place)

    async def go(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: getattr(app.screen, "place", "").startswith("playbook"))
        await until(pilot, lambda: app.shared.overview is not None)
        await until(pilot, lambda: app.screen.update() or words in page(pilot))  # type: ignore[attr-defined]

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


def real(node: Node, place: str, **options: Any) -> Console:
    """A console on a real node that begins there."""
    return Console(lambda: node, now=lambda: START, place=place, **options)


async def at(pilot: Pilot[None], words: str) -> None:
    """Wait until the wizard says these words."""
    await until(pilot, lambda: isinstance(pilot.app.screen, WizardScreen), 10)
    await until(pilot, lambda: pilot.app.screen.update() or words in page(pilot), 10)  # type: ignore[attr-defined]


async def confirm(pilot: Pilot[None]) -> None:
    """Say yes in the dialog that comes up."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and pilot.app.screen.ready)
    await type_in(pilot, "y")


@in_loop
async def test_a_whole_run_by_enter_alone(make_node: MakeNode) -> None:
    """A paused manager: picked by its symptom, found, mended, proved; the incident is closed as fixed."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    app = real(node, "playbook")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
        await until(pilot, lambda: app.screen.update() or "An act waits for approval" in page(pilot))  # type: ignore[attr-defined]
        for _ in range(7):
            await type_in(pilot, "j")
        await type_in(pilot, "enter")
        await at(pilot, "manager_paused")
        await type_in(pilot, "enter")
        await confirm(pilot)
        await at(pilot, "Fixed: the checks find it")
    [shape] = node.incidents()
    assert (shape["outcome"], shape["causes"], shape["owner"]) == ("fixed", ["manager_paused"], "ada")


@in_loop
async def test_a_colleague_goes_on_with_it(make_node: MakeNode) -> None:
    """An incident that somebody left is taken up by its id: both names are in the transcript."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    begun = node.begin_incident(ADA, Wanted("approval_blocked"))
    other = open_node(
        settings.load({"FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": "ben"}), clock=node.clock
    )
    app = real(other, f"playbook/{begun[:20]}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "manager_paused")
        await type_in(pilot, "N")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await type_in(pilot, "text:took it over", "enter")
        await type_in(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, WizardScreen))
        await until(pilot, lambda: "note" in [line["kind"] for line in node.incident(begun)["transcript"]])
    kinds = [line["kind"] for line in node.incident(begun)["transcript"]]
    assert "taken_over" in kinds
    assert node.incident(begun)["owner"] == "ben"


@in_loop
async def test_what_needs_approval_is_waited_for_and_then_proved(make_node: MakeNode) -> None:
    """The wizard shows who can decide; once it is carried out, it looks again by itself."""
    node = make_node()
    world = make_world(node)
    alive(node)
    incident_id = node.begin_incident(ADA, Wanted("approval_blocked"))
    outcome = node.mend(
        ADA, incident_id, Fix("Sign", "", "system.federation_certificate_mint", {"peer": world.peer_id})
    )
    app = real(node, f"playbook/{incident_id}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Can decide")
        assert "ben" in page(pilot)
        with node.read() as session:
            digest = session.get_one(Approval, outcome["approval"]).digest
        node.approve(BEN, outcome["approval"], digest, reason="test")
        gate.execute(node, node.acts, outcome["approval"])
        await at(pilot, "Nothing is wrong")


@in_loop
async def test_a_fix_that_was_rejected_says_so(make_node: MakeNode) -> None:
    """Rejected, the request ends the waiting: it is said, and how it ended stands in the transcript."""
    node = make_node()
    world = make_world(node)
    alive(node)
    incident_id = node.begin_incident(ADA, Wanted("approval_blocked"))
    outcome = node.mend(
        ADA, incident_id, Fix("Sign", "", "system.federation_certificate_mint", {"peer": world.peer_id})
    )
    app = real(node, f"playbook/{incident_id}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Can decide")
        node.decide(BEN, "reject", outcome["approval"], "not now")
        await at(pilot, "ended as rejected")
        await until(pilot, lambda: "act_ended" in [one["kind"] for one in node.incident(incident_id)["transcript"]], 10)
    [ended] = [one["content"] for one in node.incident(incident_id)["transcript"] if one["kind"] == "act_ended"]
    assert (ended["outcome"], ended["decided_by"]) == ("rejected", "ben")


@in_loop
async def test_a_fix_that_did_not_help_says_so_and_another_is_offered() -> None:
    """Carried out, and found again: it is said, and the mark moves on to what was not tried yet."""
    made = node("cause")
    made.preview = lambda _actor, _fix: []  # type: ignore[attr-defined]
    made.mend = lambda _actor, _id, fix: {"outcome": "done", "title": fix.title}  # type: ignore[attr-defined]
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "remote_unreachable")
        await type_in(pilot, "tab", "enter")
        await confirm(pilot)
        await at(pilot, "the checks still find it")
        assert app.screen._fix == 0  # type: ignore[attr-defined]


@in_loop
async def test_the_wrong_symptom_leads_to_everything(make_node: MakeNode) -> None:
    """A paused manager, sought as a degraded peer: it is said that not all is well, and Enter looks at everything."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    app = real(node, "playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "No cause of this symptom")
        await type_in(pilot, "enter")
        await at(pilot, "manager_paused")


@in_loop
async def test_of_two_things_to_mend_the_other_is_offered_next(make_node: MakeNode) -> None:
    """Two policies are lowered: with one restored the checks still find the other, which is offered then."""
    node = make_node()
    alive(node)
    for action in ("system.federation_peer_propose", "system.federation_peer_revoke"):
        lowered = {"policy_action": action, "policy": "notify_and_proceed", "span": "1h", "reason": "test"}
        node.request(ADA, "system.policy_lower", lowered)
    app = real(node, "playbook/approval_blocked")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "policy_lowered")
        await type_in(pilot, "enter")
        await confirm(pilot)
        await until(pilot, lambda: len(pilot.app.screen._fixes()) == 1, 10)  # type: ignore[attr-defined]
        await until(pilot, lambda: not isinstance(app.screen, Ask))
        await type_in(pilot, "enter")
        await confirm(pilot)
        await at(pilot, "Fixed")


@in_loop
async def test_both_see_that_it_was_taken_over(make_node: MakeNode) -> None:
    """Whose incident a colleague has taken over is told so where it is shown, and that it was ended."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    begun = node.begin_incident(ADA, Wanted("approval_blocked"))
    app = real(node, f"playbook/{begun}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "manager_paused")
        node.note_incident(BEN, begun, "I go on with it.")
        await at(pilot, "ben has taken this incident over")
        node.close_incident(BEN, begun, "explained", "known")
        await at(pilot, "Explained.")


@in_loop
async def test_the_background_of_an_incident_is_a_key_away(make_node: MakeNode) -> None:
    """`B` shows the events around it, to copy."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    app = real(node, "playbook/approval_blocked")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "manager_paused")
        await type_in(pilot, "B")
        await until(pilot, lambda: isinstance(app.screen, Shown), 10)
        assert "system.manager.paused" in page(pilot)


@in_loop
async def test_read_only_looks_and_keeps_nothing(make_node: MakeNode) -> None:
    """A read-only console diagnoses, offers no act, and opens no incident."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    app = real(node, "playbook/everything", read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "manager_paused")
        assert "read-only" in page(pilot)
        await type_in(pilot, "enter", "N", "U")
        assert not isinstance(app.screen, Ask)
    assert node.incidents() == []


@in_loop
async def test_a_pasted_text_leads_to_its_wizard(make_node: MakeNode) -> None:
    """An answer that was pasted is recognised, said, and looked at; one that is not known says so."""
    node = make_node()
    alive(node)
    app = real(node, "playbook")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
        await until(pilot, lambda: app.screen.update() or "accept says" in page(pilot))  # type: ignore[attr-defined]
        for _ in range(12):
            await type_in(pilot, "j")
        for text in ("the weather is fine", '{"error": "acceptance_token required (peer has one)"}'):
            await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
            await type_in(pilot, "enter")
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
            await type_in(pilot, f"text:{text}", "enter", "enter")
            await pilot.pause(0.2)
        await at(pilot, "Nothing is wrong")
    [shape] = node.incidents()
    assert shape["symptom"] == "token_missing"


@in_loop
async def test_the_doctor_is_called_to_a_record(make_node: MakeNode) -> None:
    """`d` on a peer begins with that peer; `x` shows the transcript to copy; handed up, the incident is closed."""
    node = make_node()
    world = make_world(node)
    alive(node)
    app = real(node, f"peers/{world.peer_id}")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: getattr(app.screen, "place", "").startswith("peers/"))
        await until(pilot, lambda: app.screen._look.line is not None)  # type: ignore[attr-defined]
        await type_in(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, WizardScreen), 10)
        await until(pilot, lambda: not app.screen._busy and app.screen._found is not None, 15)  # type: ignore[attr-defined]
        assert node.incidents()[0]["about"] == {"peer": world.peer_id}
        await type_in(pilot, "x")
        await until(pilot, lambda: isinstance(app.screen, Shown))
        await type_in(pilot, "escape", "U")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await type_in(pilot, "tab", "text:it is not ours to mend", "enter", "enter")
        await until(pilot, lambda: node.incidents()[0]["outcome"] == "escalated")


@in_loop
async def test_what_does_not_exist_is_said(make_node: MakeNode) -> None:
    """A deep link to an incident that is not there says so, and leads back."""
    node = make_node()
    app = real(node, "playbook/0000dead")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "incident")
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
