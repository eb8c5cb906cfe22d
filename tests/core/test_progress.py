"""How far an incident has come: what was tried, what to take next, and whether the last act was of any use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from fedtui.core.diagnosis import causes, progress
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.model import Finding, Fix, Match, Subject
from fedtui.core.diagnosis.progress import IncidentState, Tried
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.pki import signing
from tests.conftest import START, ManualClock
from tests.core.test_playbook import alive
from tests.core.world import ADA, BEN, make_world

ONE, TWO, THREE = (Fix(name, f"fedtui {name}") for name in ("one", "two", "three"))
PEER = Subject("peer", "p", "https://p.example", "p")


def finding(*fixes: Fix, together: bool = False) -> Finding:
    return Finding(causes.BY_CODE["remote_unreachable"], PEER, Match("It is so.", (), fixes, together=together))


def found(*findings: Finding) -> Diagnosis:
    return Diagnosis(START, 0.0, (), findings)


def pairs(*findings: Finding) -> Sequence[tuple[Finding, Fix]]:
    return [(one, fix) for one in findings for fix in one.sense.fixes]


def after(*acts: tuple[Fix, str]) -> IncidentState:
    tried = tuple(Tried(fix.title, fix.command, outcome, START, "ada") for fix, outcome in acts)
    return IncidentState("i", "cause", "ada", tried=tried)


@pytest.mark.parametrize("outcome", ["done", "executed", "failed", "rejected", "expired", "withdrawn", "stale"])
def test_what_was_tried_to_no_avail_is_not_taken_again_first(outcome: str) -> None:
    """However it ended, the next one is marked, also across causes; and the first again where all were tried."""
    causes_found = (finding(ONE), finding(TWO, THREE))
    assert progress.next_fix(after((ONE, outcome)), pairs(*causes_found)) == 1
    assert progress.next_fix(after((TWO, outcome), (ONE, outcome)), pairs(*causes_found)) == 2
    assert progress.next_fix(after(*((fix, outcome) for fix in (ONE, TWO, THREE))), pairs(*causes_found)) == 0


@pytest.mark.parametrize("outcome", ["by_hand", "pending"])
def test_what_may_still_come_of_a_fix_keeps_it_marked(outcome: str) -> None:
    """What people were told of, or asked for, is not passed over; a step of one change that was begun is."""
    assert progress.next_fix(after((ONE, outcome)), pairs(finding(ONE, TWO))) == 0
    assert progress.next_fix(after((ONE, outcome)), pairs(finding(ONE, TWO, together=True))) == 1


def test_the_same_words_for_another_peer_are_another_fix() -> None:
    """What was done for one peer does not count as done for the other."""
    other = replace(ONE, command="fedtui one --peer q")
    assert progress.next_fix(after((ONE, "done")), pairs(finding(other))) == 0
    assert progress.tried(after((ONE, "done")), other) is None


def test_only_what_was_carried_out_last_can_be_found_again() -> None:
    """Not what was rejected, nor what was carried out before something else, nor a step with others left."""
    assert progress.found_again(after((ONE, "done")), found(finding(ONE, TWO)))
    assert not progress.found_again(after((ONE, "rejected")), found(finding(ONE)))
    assert not progress.found_again(after((ONE, "done"), (THREE, "done")), found(finding(ONE)))
    assert not progress.found_again(after((ONE, "done")), found(finding(ONE, TWO, together=True)))
    assert progress.found_again(after((ONE, "done"), (TWO, "done")), found(finding(ONE, TWO, together=True)))
    assert not progress.found_again(after(), found(finding(ONE)))


def test_before_a_heartbeat_has_come_nothing_is_proved() -> None:
    """What is found again counts once a heartbeat can have come; what goes by no heartbeat counts at once."""
    early = replace(after((ONE, "done")), settles_at=START + timedelta(minutes=2))
    assert progress.unsettled(early, found(finding(ONE)))
    assert not progress.unsettled(after((ONE, "done")), found(finding(ONE)))
    of_node = Finding(causes.BY_CODE["manager_paused"], Subject("node"), Match("It is so.", (), (ONE,)))
    assert not progress.unsettled(early, found(of_node))


def test_what_came_of_each_act_is_read_from_the_transcript(node: Node, clock: ManualClock) -> None:
    """Told, failed, and asked for and rejected: for whoever looks at the incident, in words."""
    world = make_world(node)
    alive(node)
    incident = node.begin_incident(ADA, DiagnosisTarget(None))
    by_hand = Fix("Have it started", "systemctl start fedtui", where="there")
    failing = Fix("Resume it", "fedtui peers resume P", "system.federation_peer_resume", {"peer": world.peer_id})
    asking = Fix(
        "Sign another",
        "fedtui certs issue P",
        "system.federation_certificate_mint",
        {"peer": world.peer_id, "csr_pem": signing.signing_request(signing.new_key(), "b")},
    )
    for fix in (by_hand, failing, asking):
        outcome = node.mend(ADA, incident, fix)
        clock.advance(seconds=5)
    assert [one.outcome for one in node.standing(incident).tried] == ["by_hand", "failed", "pending"]
    node.decide(BEN, "reject", outcome["approval"], "not now")
    node.look(BEN, incident, proving=True)
    standing = node.standing(incident)
    assert [one.said for one in standing.tried] == [
        "Written down at 2026-03-01 12:00:00 UTC, by ada, as for a person to do.",
        "Tried at 2026-03-01 12:00:05 UTC, by ada, and failed.",
        "Asked for at 2026-03-01 12:00:10 UTC, by ada, and rejected.",
    ]
    told = progress.tried(standing, asking)
    assert told is not None
    assert told.outcome == "rejected"
