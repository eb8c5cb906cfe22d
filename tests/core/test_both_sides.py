"""What the two sides of a peering do not agree on: by their own words, judged from what each says and since when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.diagnosis import causes, engine
from fedtui.core.diagnosis.checks import peer_comparison
from fedtui.core.diagnosis.checks.peer_comparison import Here
from fedtui.core.diagnosis.model import CaseContext, Match, Outcome, Subject
from fedtui.core.node import Node
from fedtui.core.operations import policies
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import certificates
from fedtui.core.pki.tls_inspect import TlsInspection
from fedtui.core.pki.x509 import fingerprint, read_certificates
from fedtui.core.protocol.probe import Report
from tests.conftest import ManualClock

OURS, THEIRS, OTHER = (f"sha256:{letter * 64}" for letter in "abc")
LONG, INTERVALS = timedelta(hours=1), timedelta(minutes=2)
"""Well beyond what states may differ, and just that: two intervals of a minute."""


def seen(
    node: Node,
    here: str,
    there: Any,
    *,
    since: timedelta = LONG,
    view: dict[str, Any] | None = None,
    known: tuple[str, ...] = (THEIRS,),
    **facts: Any,
) -> CaseContext:
    """A peer that is `here`, while it says that this node is `there`, and that neither changed `since`."""
    now = node.clock.now()
    peer = Peer(
        id="p",
        remote_instance_url="https://b.example",
        status=here,
        peer_kind="platform",
        updated_at=now - since,
        last_outbound_at=now,
        enroll_owed=False,
    )
    said = {
        "now": now.isoformat(),
        "status": there,
        "unchanged_since": (now - since).isoformat(),
        "pair": "complete",
        "heartbeat_interval_seconds": 60.0,
        "ca_fingerprint": THEIRS,
        "trusted_of_you": [OURS],
        "last_outbound_code": None,
        **(view or {}),
    }
    made = CaseContext(node, node.acts, now, Subject("peer", "p", "https://b.example", "p"))
    made.outcomes["record"] = Outcome(
        "ok",
        "seen",
        facts={
            "peer": peer,
            "status": here,
            "faults": [],
            "pair_state": "complete",
            "heartbeat_age": timedelta(),
            **facts,
        },
    )
    made.outcomes["their_view"] = peer_comparison.compared(made, Here(peer, OURS, known), said)
    return made


def codes(case: CaseContext) -> list[str]:
    """What follows, with what explains it left out."""
    return [one.cause.code for one in engine.conclude([case], causes.CAUSES)]


def of(case: CaseContext, code: str) -> Match:
    sense = causes.BY_CODE[code].holds(case)
    assert sense is not None
    return sense


def test_both_sides_see_the_same(node: Node) -> None:
    """Two that agree: the check is ok, and no cause follows."""
    case = seen(node, "active", "active")
    assert (case.outcomes["their_view"].state, codes(case)) == ("ok", [])
    assert case.outcomes["their_view"].said == "Both sides see the same."


@pytest.mark.parametrize(
    ("here", "there", "facts", "view", "says", "where"),
    [
        ("accepted", "active", {}, {}, "None of its heartbeats arrives here", "there"),
        ("enrolled", "degraded", {}, {}, "None of its heartbeats arrives here", "there"),
        (
            "accepted",
            "active",
            {},
            {"last_outbound_code": "remote_timeout"},
            "fail: this node does not answer in time",
            "there",
        ),
        ("active", "accepted", {}, {}, "does not count them", "there"),
        ("active", "degraded", {}, {}, "does not count them", "there"),
        ("active", "suspended", {}, {}, "there this node is suspended", "there"),
    ],
)
def test_states_that_differ_for_long_are_a_cause(
    node: Node, here: str, there: str, facts: dict[str, Any], view: dict[str, Any], says: str, where: str
) -> None:
    """Both states are named, how long that has stood, and the smallest fix, where only the other side can act."""
    case = seen(node, here, there, view=view, **facts)
    assert case.outcomes["their_view"].state == "bad"
    assert codes(case) == ["status_disagrees"]
    sense = of(case, "status_disagrees")
    assert f"Here it is {here}, there this node is {there}. That has stood for 1h." in sense.because
    assert says in sense.because
    assert sense.fixes[0].where == where
    assert all(not fix.action or fix.action in policies.RULES for fix in sense.fixes)


def test_who_sends_nothing_is_told_to_send(node: Node) -> None:
    """Active here, accepted there, and no heartbeat has gone out for long: that is for this side to mend."""
    case = seen(node, "active", "accepted")
    peer = case.fact("peer")
    peer.last_outbound_at = case.now - LONG
    case.outcomes["their_view"] = peer_comparison.compared(case, Here(peer, OURS, (THEIRS,)), dict(case.fact("view")))
    sense = of(case, "status_disagrees")
    assert "do not go out" in sense.because
    assert (sense.fixes[0].where, sense.fixes[0].command) == ("here", "fedtui peers heartbeat p")


@pytest.mark.parametrize(("beyond", "found"), [(timedelta(0), []), (timedelta(seconds=1), ["status_disagrees"])])
def test_what_the_next_heartbeat_mends_is_none(node: Node, beyond: timedelta, found: list[str]) -> None:
    """Two states may differ for two intervals, whichever side has changed last; the check says that it will pass."""
    for late in ("here", "there"):
        case = seen(node, "accepted", "active", since=INTERVALS + beyond)
        view, peer = dict(case.fact("view")), case.fact("peer")
        if late == "here":
            view["unchanged_since"] = (case.now - LONG).isoformat()
        else:
            peer.updated_at = case.now - LONG
        case.outcomes["their_view"] = peer_comparison.compared(case, Here(peer, OURS, (THEIRS,)), view)
        assert codes(case) == found
        outcome = case.outcomes["their_view"]
        assert outcome.state == ("bad" if found else "ok")
        assert found or "The next heartbeat brings them together" in outcome.said


def test_ages_are_told_by_each_sides_own_clock(node: Node) -> None:
    """A peer whose clock is an hour ahead, and that changed a moment ago, has changed a moment ago; and where it
    beats every ten minutes, twenty may pass."""
    ahead = node.clock.now() + LONG
    young = {"now": ahead.isoformat(), "unchanged_since": (ahead - timedelta(seconds=5)).isoformat()}
    assert "status" not in seen(node, "accepted", "active", view=young).fact("disagreements")
    slow = {"heartbeat_interval_seconds": 600.0}
    assert codes(seen(node, "accepted", "active", since=timedelta(minutes=19), view=slow)) == []
    assert codes(seen(node, "accepted", "active", since=timedelta(minutes=21), view=slow)) == ["status_disagrees"]


def test_a_peer_that_does_not_say_since_when(node: Node) -> None:
    """One of an older system: it has had its state since it last shook hands, or was signed, at the latest."""
    old = seen(node, "accepted", "active")
    view = {key: value for key, value in old.fact("view").items() if key != "unchanged_since"}
    here = Here(old.fact("peer"), OURS, (THEIRS,))
    just_now = (old.now - timedelta(seconds=5)).isoformat()
    assert peer_comparison.compared(old, here, {**view, "signed_at": just_now}).state == "ok"
    assert peer_comparison.compared(old, here, view).state == "bad"


def test_a_peer_of_the_network_only_stays_accepted(node: Node) -> None:
    """Nothing is awaited of it, so its state is no disagreement."""
    case = seen(node, "accepted", "active")
    peer = case.fact("peer")
    peer.peer_kind = "sdwan_only"
    assert peer_comparison.compared(case, Here(peer, OURS, (THEIRS,)), case.fact("view")).state == "ok"


@pytest.mark.parametrize("odd", [None, "ACTIVE", 7, ["active"], {}, "\x1b[2J"])
def test_a_state_that_is_none_says_nothing(node: Node, odd: Any) -> None:
    """A remote may answer anything: what is no state is not held against anybody."""
    case = seen(
        node,
        "active",
        odd,
        view={
            "now": odd,
            "unchanged_since": odd,
            "trusted_of_you": odd,
            "ca_fingerprint": odd,
            "heartbeat_interval_seconds": odd,
        },
    )
    assert case.fact("disagreements") == {}
    assert codes(case) == []


def test_that_it_knows_us_by_another_ca_is_a_cause(node: Node) -> None:
    """Both fingerprints are named; trusting ours is for its operator, by an act that exists."""
    case = seen(node, "active", "active", view={"trusted_of_you": [OTHER, "no fingerprint"]})
    assert codes(case) == ["ca_disagrees"]
    [fix] = of(case, "ca_disagrees").fixes
    assert of(case, "ca_disagrees").because == f"There, this node is known by the CA {OTHER}; it has {OURS}."
    assert (fix.where, fix.action) == ("there", "system.federation_certificate_anchor")
    assert dict(fix.params) == {"peer": node.url, "ca_fingerprint": OURS}


def test_that_tls_fails_for_it_is_named_once(node: Node) -> None:
    """Silent, as its calls fail in TLS: that names the wrong CA already. Waiting, the CA is the root of it."""
    wrong = {"trusted_of_you": [OTHER], "last_outbound_code": "remote_tls_failed"}
    silent = seen(node, "active", "active", view=wrong, heartbeat_age=timedelta(minutes=4))
    assert codes(silent) == ["one_way_partition"]
    assert codes(seen(node, "active", "active", view=wrong)) == ["ca_disagrees"]
    assert codes(seen(node, "accepted", "active", view=wrong)) == ["ca_disagrees"]


def test_that_we_know_it_by_another_ca_is_a_cause(node: Node) -> None:
    """Trusting the CA that it has is offered where it shows that CA; else its operators have to say what it is."""
    with node.read() as session:
        [shown] = read_certificates(certificates.own_ca(session).cert_pem, field="ca")
    pin = fingerprint(shown)
    hidden = seen(node, "active", "active", view={"ca_fingerprint": pin})
    assert codes(hidden) == ["ca_disagrees"]
    asked, *anew = of(hidden, "ca_disagrees").fixes
    assert (asked.where, asked.action) == ("there", "")
    assert [fix.command.split()[2] for fix in anew] == ["revoke", "propose", "token", "accept"]
    probe = Report("https://b.example", "p", sight=TlsInspection(chain=(shown,)))
    case = seen(node, "active", "active", view={"ca_fingerprint": pin}, probe=probe)
    [fix] = of(case, "ca_disagrees").fixes
    assert (fix.where, dict(fix.params)) == ("here", {"peer": "p", "ca_fingerprint": pin})
    both = seen(node, "active", "active", view={"ca_fingerprint": pin, "trusted_of_you": [OTHER]}, probe=probe)
    sense = of(both, "ca_disagrees")
    assert (len(sense.fixes), sense.together) == (2, True)
    assert (OTHER in sense.because, pin in sense.because, THEIRS in sense.because) == (True, True, True)


def test_it_is_looked_for_under_each_symptom_that_a_person_might_pick(node: Node) -> None:
    """A disagreement of states belongs to being stuck and to being degraded, one of CAs to mTLS as well."""
    under = {
        code: {name for name in causes.BY_SYMPTOM if causes.BY_CODE[code] in causes.of(name)}
        for code in ("status_disagrees", "ca_disagrees")
    }
    assert under["status_disagrees"] == {"stuck_accepted", "degraded", "escalation"}
    assert under["ca_disagrees"] == {"stuck_accepted", "degraded", "partial_mtls", "escalation"}


def test_values_of_both_sides_are_the_evidence(node: Node, clock: ManualClock) -> None:
    """Each value stands beside the other's, with the states and since when they stand."""
    case = seen(node, "accepted", "active")
    told = {one.what: one.value for one in case.outcomes["their_view"].evidence}
    assert told["status of the other"] == "here accepted; there active"
    since = f"{clock.now() - LONG:%F %H:%M:%S} UTC"
    assert told["which stands since, at the latest"] == f"here {since}; there {since}"
