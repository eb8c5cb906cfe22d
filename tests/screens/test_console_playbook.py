"""The playbook and the wizard on the console: what they look like, and a whole run on a real node, by keys alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from fake_node import INVITE, NOW, FakeNode, console, in_loop, page, type_in, until, zoo
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.bootstrap import open_node
from fedtui.core.diagnosis import causes, engine
from fedtui.core.diagnosis.check_runner import CheckResult
from fedtui.core.diagnosis.checks import CHECKS
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.model import Check, Evidence, Finding, Fix, Match, Outcome, Subject
from fedtui.core.diagnosis.progress import IncidentState, Tried
from fedtui.core.diagnosis.triage import NODE, DiagnosisTarget
from fedtui.core.errors import Unusable
from fedtui.core.governance import change_requests
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import tokens
from fedtui.core.pki import signing
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Secret, Shown, Told
from fedtui.screens.playbook.screen import PlaybookScreen
from fedtui.screens.playbook.wizard import WizardScreen
from fedtui.screens.shell import drafts
from tests.conftest import START, MakeNode, ManualClock
from tests.core.test_peers import new_peer
from tests.core.test_playbook import alive, refused_accept
from tests.core.world import make_world

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
ID = "01950000-0000-7000-c000-000000000001"
BRAVO = Subject("peer", "01950000-0000-7000-8000-000000000001", "https://bravo.example.org", "p")
BY_CHECK = {check.name: check for check in CHECKS}


def seen(name: str, state: Any, said: str, subject: Subject = NODE) -> CheckResult:
    """A check that came to this."""
    evidence = (Evidence("status", "degraded", "peers", NOW), Evidence("last heartbeat from it", NOW, "peers", NOW))
    return CheckResult(subject, BY_CHECK[name], Outcome(state, said, evidence if name == "record" else ()))


def sick() -> Diagnosis:
    """A peer that cannot be reached, and has not been for a day."""
    start = Fix("Have its operator start its daemon; its next heartbeat does the rest", "fedtui serve", where="there")
    rest = Fix("Suspend it, to stop the noise", "fedtui peers suspend ...", "system.federation_peer_suspend", {})
    found = (
        Finding(causes.BY_CODE["remote_unreachable"], BRAVO, Match("Nothing listens at 192.0.2.7:8443.", (), (start,))),
        Finding(causes.BY_CODE["gone_over_24h"], BRAVO, Match("It has been degraded for 1 d 6 h.", (), (rest,))),
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


def keeps_open() -> Diagnosis:
    """Nothing of what was found is left, and one check of the peer's does not pass."""
    said = "Its calls to this node fail: remote_timeout."
    return Diagnosis(
        NOW,
        0.4,
        (*sick().seen[:4], seen("their_view", "bad", said, BRAVO)),
        (),
        held=(seen("their_view", "bad", said, BRAVO),),
    )


def incident(**more: Any) -> dict[str, Any]:
    """The incident of the tests."""
    return {
        "id": ID,
        "title": "A peer was active and is degraded",
        "owner": "alice",
        "opened_at": NOW - timedelta(minutes=4),
        "causes": ["remote_unreachable"],
        "outcome": None,
        "seconds_to_diagnosis": 2.0,
        "seconds_to_fix": None,
        "closed_by": None,
        "closed_at": None,
        **more,
    }


def node(state: str) -> FakeNode:
    """A fake node whose incident is in this state."""
    made = FakeNode(zoo()[:2])
    made.incident_shapes = [incident()]
    made.diagnosed = sick()
    made.stands = IncidentState(ID, "cause", "alice")
    if state == "tried":
        first = sick().findings[0].sense.fixes[0]
        came = Tried(first.title, first.command, "by_hand", NOW - timedelta(minutes=3), "alice")
        again = Tried(
            "Suspend it, to stop the noise", "fedtui peers suspend ...", "rejected", NOW - timedelta(minutes=2), "bob"
        )
        made.stands = replace(made.stands, tried=(came, again))
    if state == "held":
        made.stands, made.diagnosed = IncidentState(ID, "prove", "alice"), keeps_open()
    if state == "done":
        ended = {"outcome": "fixed", "seconds_to_fix": 95.0, "closed_by": "alice", "closed_at": NOW}
        made.incident_shapes = [incident(**ended)]
        made.stands = IncidentState(ID, "done", "alice", outcome="fixed")
        made.diagnosed = Diagnosis(NOW, 0.1, sick().seen[:3], ())
    if state == "wait":
        made.stands = IncidentState(ID, "wait", "bob", "a-1", "pending")
        waits = {
            "can_decide": ["carol"],
            "cannot_decide": {"alice": "asked for it, and nobody decides their own request"},
        }
        shape = {
            "id": "01950000-0000-7000-9000-000000000001",
            "status": "pending",
            "waiting": waits,
            "summary": "Sign a new certificate for https://bravo.example.org.",
            "expires_at": NOW + timedelta(hours=3),
        }
        made.records["a-1"] = type("Record", (), {"shape": shape})()
    return made


def try_fixes(made: FakeNode, outcome: str) -> None:
    """Every fix of this fake node comes to `outcome`, and its incident says so from then on."""

    def mend(_actor: Actor, _incident: str, fix: Fix) -> dict[str, Any]:
        came = Tried(fix.title, fix.command, outcome, NOW - timedelta(minutes=2), "alice")
        made.stands = replace(made.stands, tried=(*made.stands.tried, came))
        return {"outcome": outcome, "title": fix.title, "command": fix.command, "where": fix.where}

    made.preview = lambda _actor, _fix: []  # type: ignore[attr-defined]
    made.mend = mend  # type: ignore[attr-defined]


LOOKS = {
    "playbook": ("playbook", "cause", "Go on: A peer was active"),
    "wizard-cause": ("playbook/degraded", "cause", "remote_unreachable"),
    "wizard-tried": (f"playbook/{ID}", "tried", "Written down at"),
    "wizard-wait": (f"playbook/{ID}", "wait", "Can decide"),
    "wizard-held": (f"playbook/{ID}", "held", "not every check passes"),
    "wizard-done": (f"playbook/{ID}", "done", "Fixed"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKS)
def test_looks(snap_compare: Compare, name: str, size: str) -> None:
    """The symptoms, a cause with its evidence, a fix that waits, what keeps it open, and the end; at both sizes."""
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


async def take_the_fix(pilot: Pilot[None]) -> None:
    """Enter on the fix that is marked, and yes."""
    await type_in(pilot, "enter")
    await confirm(pilot)


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
        await take_the_fix(pilot)
        await at(pilot, "Fixed: its checks pass")
    [shape] = node.incidents()
    assert (shape["outcome"], shape["causes"], shape["owner"]) == ("fixed", ["manager_paused"], "ada")


@in_loop
async def test_a_colleague_goes_on_with_it(make_node: MakeNode) -> None:
    """An incident that somebody left is taken up by its id: both names are in the transcript."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    begun = node.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
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


@dataclass
class Waiting:
    """A node with an incident whose fix waits to be approved by ben, or not."""

    node: Node
    incident: str
    approval: str


@pytest.fixture
def waiting(make_node: MakeNode) -> Waiting:
    """Ada has asked for a certificate to be signed, from an incident of hers."""
    node = make_node()
    world = make_world(node)
    alive(node)
    incident_id = node.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    sign = Fix(
        "Sign",
        "",
        "system.federation_certificate_mint",
        {"peer": world.peer_id, "csr_pem": signing.signing_request(signing.new_key(), "b")},
    )
    return Waiting(node, incident_id, node.mend(ADA, incident_id, sign)["approval"])


@in_loop
async def test_what_needs_approval_is_waited_for_and_then_proved(waiting: Waiting) -> None:
    """The wizard shows who can decide; once it is carried out, it looks again by itself."""
    node = waiting.node
    app = real(node, f"playbook/{waiting.incident}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Can decide")
        assert "ben" in page(pilot)
        with node.read() as session:
            digest = session.get_one(Approval, waiting.approval).digest
        node.approve(BEN, waiting.approval, digest, reason="test")
        gate.execute(node, node.acts, waiting.approval)
        await at(pilot, "Nothing is wrong")


@in_loop
async def test_the_waiting_outlasts_a_database_that_does_not_answer(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that fail while it waits do not end the waiting: what was decided meanwhile is seen afterwards."""
    node, failed = waiting.node, []
    app = real(node, f"playbook/{waiting.incident}")

    def held(self: Node, incident_id: str) -> IncidentState:
        failed.append(incident_id)
        raise Unusable("Another program holds the node's database.", fix="Try again.")

    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Can decide")
        with monkeypatch.context() as patch:
            patch.setattr(Node, "standing", held)
            await until(pilot, lambda: len(failed) > 3, 10)
        node.decide(BEN, "reject", waiting.approval, "not now")
        await at(pilot, "ended as rejected")


@in_loop
async def test_a_fix_that_was_rejected_says_so(waiting: Waiting) -> None:
    """Rejected, the request ends the waiting: it is said, and how it ended stands in the transcript."""
    node, incident_id = waiting.node, waiting.incident
    app = real(node, f"playbook/{incident_id}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Can decide")
        node.decide(BEN, "reject", waiting.approval, "not now")
        await at(pilot, "ended as rejected")
        await until(pilot, lambda: "act_ended" in [one["kind"] for one in node.incident(incident_id)["transcript"]], 10)
    [ended] = [one["content"] for one in node.incident(incident_id)["transcript"] if one["kind"] == "act_ended"]
    assert (ended["outcome"], ended["decided_by"]) == ("rejected", "ben")


@in_loop
async def test_a_fix_that_did_not_help_says_so_and_another_is_offered() -> None:
    """Carried out, and found again: it is said, and the mark moves on to what was not tried yet."""
    made = node("cause")
    try_fixes(made, "done")
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "remote_unreachable")
        await type_in(pilot, "tab", "enter")
        await confirm(pilot)
        await at(pilot, "the checks still find it")
        assert app.screen._fix == 0  # type: ignore[attr-defined]
        assert "11:58:00 UTC, by alice." in page(pilot)


@in_loop
async def test_who_goes_on_with_an_incident_sees_what_was_tried() -> None:
    """What a colleague was refused, or a dropped session, stands beneath its fix, and another is marked."""
    made = node("cause")
    [first, second] = (one.sense.fixes[0] for one in sick().findings)
    made.stands = replace(made.stands, tried=(Tried(first.title, first.command, "rejected", NOW, "bob"),))
    app = console(made, place=f"playbook/{ID}")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "by bob, and rejected.")
        assert f"› Fix: {second.title}" in page(pilot)


@in_loop
async def test_what_people_were_told_is_not_written_down_twice() -> None:
    """Once it is written down for them, Enter looks again, until they have done it."""
    made = node("cause")
    try_fixes(made, "by_hand")
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "Enter writes it down")
        await take_the_fix(pilot)
        await at(pilot, "Tell the other side's operators.")
        await type_in(pilot, "enter")
        await at(pilot, "Written down at")
        assert "Once it is done, Enter looks again." in page(pilot)
        made.diagnosed = replace(sick(), findings=())
        await type_in(pilot, "enter")
        await at(pilot, "No cause of it was found")
    assert len(made.stands.tried) == 1


@in_loop
async def test_a_step_that_was_taken_leads_to_the_next_of_its_change() -> None:
    """Steps of one change that are each needed: what a person was told of is not offered first again."""
    made = node("cause")
    [first, second] = sick().findings
    steps = (first.sense.fixes[0], second.sense.fixes[0])
    made.diagnosed = replace(sick(), findings=(replace(first, sense=replace(first.sense, fixes=steps, together=True)),))
    try_fixes(made, "by_hand")
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "› Fix: Have its operator start")
        await take_the_fix(pilot)
        await at(pilot, "Tell the other side's operators.")
        await type_in(pilot, "enter")
        await at(pilot, "› Fix: then suspend it")


@in_loop
async def test_what_is_found_right_after_the_fix_may_be_older_and_is_looked_at_again() -> None:
    """Before a heartbeat has come the same cause is no proof that the fix was of no use: it says so, offers no other,
    and looks again by itself."""
    made, looks = node("cause"), list[None]()
    made.stands = replace(made.stands, settles_at=NOW + timedelta(seconds=1))
    try_fixes(made, "done")
    look = made.look

    def once_more(*words: Any, **options: Any) -> Any:
        looks.append(None)
        if len(looks) == 3:
            made.stands = replace(made.stands, settles_at=None)
        return look(*words, **options)

    made.look = once_more  # type: ignore[method-assign]
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(120, 40)) as pilot:
        await at(pilot, "remote_unreachable")
        await take_the_fix(pilot)
        await at(pilot, "may be from before it")
        assert f"looks again by itself at {NOW + timedelta(seconds=1):%H:%M:%S} UTC" in page(app)
        assert "the checks still find it" not in page(app)
        await at(pilot, "the checks still find it")
    assert len(looks) == 3


@in_loop
@pytest.mark.parametrize("begun", ["peers", "events", "playbook", "home"])
async def test_esc_leads_back_to_where_the_wizard_was_begun(begun: str) -> None:
    """From a record's doctor, from any place's command line, or from the playbook; also from the wizard of
    everything, which another wizard led to."""
    made = node("cause")
    app = console(made, place=begun)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: getattr(app.screen, "place", "") == begun)
        app.screen.go("playbook/degraded")  # type: ignore[attr-defined]
        await at(pilot, "remote_unreachable")
        app.screen.go("playbook/everything")  # type: ignore[attr-defined]
        await at(pilot, "remote_unreachable")
        await type_in(pilot, "escape")
        await until(pilot, lambda: getattr(app.screen, "place", "") == begun)


@in_loop
async def test_the_next_fix_is_in_sight_after_a_look() -> None:
    """At 80x24 the one that was of no use is on top, and the next beyond the edge: it is marked, and shown."""
    made = node("cause")
    [first, second] = sick().findings
    tried = replace(first, sense=replace(first.sense, fixes=(replace(first.sense.fixes[0], action="x", where="here"),)))
    made.diagnosed = replace(sick(), findings=(tried, tried, tried, second))
    try_fixes(made, "done")
    app = console(made, place="playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "remote_unreachable")
        assert "Suspend it" not in page(pilot)
        await take_the_fix(pilot)
        await at(pilot, "› Fix: Suspend it")


@in_loop
async def test_under_the_wrong_symptom_what_is_wrong_is_offered_all_the_same(make_node: MakeNode) -> None:
    """A paused manager, sought as a degraded peer: that is said, its cause named, and mended in the same incident."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    app = real(node, "playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "No cause of it")
        assert "manager_paused" in page(pilot)
        await take_the_fix(pilot)
        await at(pilot, "Fixed")
    assert [one["outcome"] for one in node.incidents()] == ["fixed"]


@in_loop
async def test_what_no_cause_explains_leads_to_everything(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check fails under the wrong symptom and no cause is known for it: Enter looks at everything; where that is
    what was looked at, it looks again."""
    node = make_node()
    alive(node)
    hums = Check("hums", "node", "It is silent", lambda _case: Outcome("bad", "it hums"))
    monkeypatch.setattr(engine, "CHECKS", (*CHECKS, hums))
    app = real(node, "playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "Enter looks at everything")
        assert "it hums" in page(pilot)
        await type_in(pilot, "enter")
        await at(pilot, "Is anything wrong?")
        await at(pilot, "Enter looks again; U hands it up")


@in_loop
async def test_a_new_token_is_shown_once(make_node: MakeNode, clock: ManualClock) -> None:
    """The fix of a refused token makes another: its invite is shown to whoever carried it out, and then it is looked
    again."""
    node = make_node()
    alive(node)
    peer_id = new_peer(node, "https://c.example")
    refused_accept(node, peer_id)
    clock.advance(seconds=1)
    app = real(node, "playbook/token_mismatch")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "token_mistyped")
        await take_the_fix(pilot)
        await until(pilot, lambda: isinstance(app.screen, Secret), 10)
        await until(pilot, lambda: "fi1" in page(pilot))
        await type_in(pilot, "escape")
        await at(pilot, "Fixed")
    with node.read() as session:
        made = tokens.newest(session, peer_id)
    assert made is not None
    assert made.expires_at - made.issued_at == timedelta(hours=1), "as the fix said"


@in_loop
async def test_it_stays_open_until_every_check_of_its_subject_passes(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause is mended, and another check of the node fails: the wizard says which, and what can be done; Enter
    looks again, and once it passes the incident is fixed."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    hums = [True]
    silent = Check("hums", "node", "It is silent", lambda _case: Outcome("bad" if hums[0] else "ok", "it hums"))
    monkeypatch.setattr(engine, "CHECKS", (*CHECKS, silent))
    app = real(node, "playbook/approval_blocked")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "manager_paused")
        await take_the_fix(pilot)
        await at(pilot, "not every check passes")
        assert all(words in page(pilot) for words in ("It is silent: it hums", "U hands it up", ":end-incident"))
        assert node.incidents()[0]["state"] == "open"
        hums[0] = False
        await type_in(pilot, "enter")
        await at(pilot, "Fixed")


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
        await take_the_fix(pilot)
        await until(pilot, lambda: len(pilot.app.screen._fixes()) == 1, 10)  # type: ignore[attr-defined]
        await until(pilot, lambda: not isinstance(app.screen, Ask))
        await take_the_fix(pilot)
        await at(pilot, "Fixed")


@in_loop
async def test_both_see_that_it_was_taken_over(make_node: MakeNode) -> None:
    """Whose incident a colleague has taken over is told so where it is shown, and that it was ended."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    begun = node.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
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
        await at(pilot, "Nothing on record shows it")
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
        node.note_incident(ADA, node.incidents()[0]["id"], "a long day " * 150)
        for _ in range(6):
            node.look(ADA, node.incidents()[0]["id"])
        await type_in(pilot, "x")
        await until(pilot, lambda: isinstance(app.screen, Shown) and app.screen.ready)
        await until(pilot, lambda: "PgDn more c copy Esc close" in page(pilot))  # in sight though the text is long
        await type_in(pilot, "pagedown", "c")
        await until(pilot, lambda: "In a shell: fedtui incidents" in page(pilot))
        assert f"export {node.incidents()[0]['id'][:13]}" in page(pilot)
        await type_in(pilot, "escape", "U")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await type_in(pilot, "tab", "text:it is not ours to mend", "enter", "enter")
        await until(pilot, lambda: node.incidents()[0]["outcome"] == "escalated")


@in_loop
async def test_what_was_written_for_the_owner_outlasts_a_failure(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An escalation that cannot be filed keeps its words, and files them the next time."""
    node = make_node()
    incident = node.begin_incident(node.actor("test"), DiagnosisTarget("token_missing"))
    app = real(node, f"playbook/{incident}")

    def held(*_: Any, **__: Any) -> Any:
        raise Unusable("Another program holds the node's database.", fix="Try again.")

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WizardScreen) and not app.screen._busy, 15)
        with monkeypatch.context() as patch:
            patch.setattr(Node, "escalate", held)
            await type_in(pilot, "U")
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
            await type_in(pilot, "tab", "text:it is not ours to mend", "enter", "enter")
            await until(pilot, lambda: isinstance(app.screen, Told) and drafts.KEPT in page(pilot))
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, WizardScreen))
        await type_in(pilot, "U")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await type_in(pilot, "enter", "enter", "enter")
        await until(pilot, lambda: node.incidents()[0]["outcome"] == "escalated")
        with node.read() as session:
            assert [row.body for row in change_requests.listing(session)] == ["it is not ours to mend"]


@in_loop
async def test_a_second_enter_begins_nothing_twice(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter twice in a row on an open incident, and on its fix: it is gone on with once, and asked about once."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    incident = node.begin_incident(node.actor("test"), DiagnosisTarget("approval_blocked"))
    app, go_on = real(node, "playbook"), threading.Event()

    def slowly(work: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*given: Any) -> Any:
            assert go_on.wait(10)
            return work(*given)

        go_on.clear()
        return waits

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
        await until(pilot, lambda: app.screen.update() or "Go on:" in page(pilot))  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setattr(Node, "incident", slowly(Node.incident))
            await type_in(pilot, "enter")
            await until(pilot, lambda: isinstance(app.screen, WizardScreen))
            await type_in(pilot, "enter")
            go_on.set()
            await at(pilot, "manager_paused")
        with monkeypatch.context() as patch:
            patch.setattr(Node, "preview", slowly(Node.preview))
            await type_in(pilot, "enter", "enter")
            go_on.set()
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
            assert [type(one) for one in app.screen_stack].count(Ask) == 1
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, WizardScreen))
    kinds = [line["kind"] for line in node.incident(incident)["transcript"]]
    assert kinds.count("looked") == 1


@in_loop
async def test_an_incident_that_came_to_nothing_is_not_left_open(make_node: MakeNode) -> None:
    """Leaving the wizard where nothing is wrong closes it; one that has a note in it stays for whoever wrote that."""
    node = make_node()
    alive(node)
    app = real(node, "playbook/degraded")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "closes the incident")
        await type_in(pilot, "escape")
        await until(pilot, lambda: node.incidents()[0]["outcome"] == "explained")
        await type_in(pilot, "colon", "text:playbook degraded", "enter")
        await at(pilot, "closes the incident")
        await type_in(pilot, "N")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await type_in(pilot, "text:it was slow at noon", "enter", "enter")
        await at(pilot, "Noted")
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))
        await until(pilot, lambda: app.screen.update() or "Go on:" in page(pilot))  # type: ignore[attr-defined]
    assert [one["outcome"] for one in node.incidents()] == [None, "explained"]


@in_loop
@pytest.mark.parametrize("what", ["look", "begin_incident"])
async def test_a_look_that_failed_can_be_tried_again(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The database was held for a moment, before the incident began or after: Enter tries again, and it goes on."""
    node = make_node()
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})

    def held(*_: Any, **__: Any) -> Any:
        raise Unusable("Another program holds the node's database.", fix="Try again.")

    app = real(node, "playbook/approval_blocked")
    with monkeypatch.context() as patch:
        patch.setattr(Node, what, held)
        async with app.run_test(size=(80, 24)) as pilot:
            await at(pilot, "Enter tries again")
            assert "holds the node's database" in page(pilot)
            patch.undo()
            await type_in(pilot, "enter")
            await at(pilot, "manager_paused")
    assert [one["causes"] for one in node.incidents()] == [["manager_paused"]]


@in_loop
async def test_a_closed_incident_takes_no_words_that_would_be_lost() -> None:
    """A note, handing it up and ending it are refused before anything is typed; the transcript is still shown."""
    app = console(node("done"), place=f"playbook/{ID}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "Fixed")
        for key in ("N", "U"):
            await type_in(pilot, key)
            await at(pilot, "This incident is closed")
        refused = {command.name for command, free in app.screen.commands_shown() if not free}  # type: ignore[attr-defined]
        assert refused == {"note", "escalate"}


@in_loop
async def test_the_fix_that_is_marked_is_in_sight() -> None:
    """At 80x24 with more causes than fit: Tab marks the next fix and shows it; G and g lead to both ends."""
    made = node("cause")
    [first, second] = sick().findings
    made.diagnosed = replace(sick(), findings=(first, first, first, second))
    app = console(made, place="playbook/degraded")
    marked = "› Fix: Suspend it"
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "remote_unreachable")
        await at(pilot, "A person does this")
        assert "Suspend it" not in page(pilot)
        await type_in(pilot, "tab", "tab", "tab")
        await at(pilot, marked)
        await at(pilot, "Enter carries out")
        scrolled = app.screen.query_one(VerticalScroll)
        await type_in(pilot, "g")
        await until(pilot, lambda: scrolled.scroll_y == 0)
        await type_in(pilot, "pagedown")
        await until(pilot, lambda: scrolled.scroll_y == scrolled.size.height - 1)
        await type_in(pilot, "G")
        await until(pilot, lambda: scrolled.scroll_y == scrolled.max_scroll_y > scrolled.size.height)


@in_loop
async def test_the_doctor_is_called_from_anywhere_by_its_name(make_node: MakeNode) -> None:
    """`:doctor` where nothing is under the cursor looks at everything, as practice tells a newcomer to."""
    node = make_node()
    alive(node)
    for place in ("home", "playbook", "governance"):
        app = real(node, place)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda app=app: app.shared.overview is not None)
            await type_in(pilot, "colon", "text:doctor", "enter")
            await at(pilot, "Nothing is wrong")
    assert [one["about"] for one in node.incidents()] == [{}] * 3


@in_loop
async def test_what_does_not_exist_is_said(make_node: MakeNode) -> None:
    """A deep link to an incident that is not there says so, and leads back."""
    node = make_node()
    app = real(node, "playbook/0000dead")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "incident")
        await type_in(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, PlaybookScreen))


@in_loop
async def test_that_what_it_waits_for_was_approved_is_shown_at_once() -> None:
    """Not decided: who can; approved: by whom, and what comes next, before it is carried out."""
    made = node("wait")
    app = console(made, place=f"playbook/{ID}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "Can decide")
        shape = made.records["a-1"].shape
        waits = {**shape["waiting"], "then": "the manager carries it out at its next tick"}
        approved = {**shape, "status": "approved", "decided_by": "carol", "waiting": waits}
        made.records["a-1"] = type("Record", (), {"shape": approved})()
        made.stands = IncidentState(ID, "wait", "bob", "a-1", "approved")
        await at(pilot, "The fix is approved.")
        assert "carol" in page(pilot)
        assert "at its next tick" in page(pilot)
        assert "Can decide" not in page(pilot)


@in_loop
async def test_what_was_approved_for_one_who_asked_is_made_by_enter() -> None:
    """Approved, and this operator's to make: Enter makes it, shows it once, and looks whether it helped."""
    made = node("wait")
    shape = made.records["a-1"].shape
    waits = {**shape["waiting"], "then": "alice makes it, once", "claimed_by": made.operator}
    approved = {**shape, "status": "approved", "decided_by": "carol", "waiting": waits}
    made.records["a-1"] = type("Record", (), {"shape": approved})()
    made.stands = IncidentState(ID, "wait", "alice", "a-1", "approved")
    asked: list[object] = []
    made.asked_for = lambda _id: "the fix"  # type: ignore[attr-defined]

    def mend(_actor: str, _id: str, fix: object) -> dict[str, object]:
        asked.append(fix)
        made.stands = IncidentState(ID, "prove", "alice")
        return {"outcome": "done", "title": "New", "shown_once": {"invite": INVITE, "expires_at": NOW}}

    made.mend = mend  # type: ignore[attr-defined]
    app = console(made, place=f"playbook/{ID}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "yours to make")
        await type_in(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, Secret), 10)
        assert asked == ["the fix"]
