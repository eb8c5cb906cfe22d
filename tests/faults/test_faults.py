"""The practice range: each fault is staged on real processes, the doctor names its cause, the fix makes it well."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedtui.child import ChildDaemon
from fedtui.core.administration import node_settings
from fedtui.core.diagnosis import causes, engine
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Problem, Refused
from fedtui.core.peers import peers
from fedtui.lab.faults.catalogue import BY_NAME, FAULTS
from fedtui.lab.faults.model import HERE, MARKER, THERE, Fault, require_practice
from fedtui.lab.faults.staging import STRANGER, peer_of
from fedtui.lab.nodes import Federation, await_active, build, plan
from fedtui.lab.range import PracticeRange
from fedtui.lab.simulated_operators import People
from tests.forks import Forked

PATIENCE_SECONDS = 60
UNSTAGED = {
    "recovering",
    "approval_failed",
    "approval_stale",
    "term_ended",
    "wrong_node",
    "proxy_misconfigured",
    "record_tampered",
    "remote_body_refused",
    "body_refused",
}
"""Causes that no fault of the practice range stages: they pass by themselves, end with the request that they are about,
or take a third machine; `test_playbook.py`, `test_as_decided.py` and `test_who_is_there.py` in `tests/core` make them
from records."""

AT_ONCE = (
    (("peer-stopped", "manager-paused"), ("manager_paused", "remote_unreachable")),
    (("wrong-anchor", "policy-lowered"), ("policy_lowered", "remote_tls_failed")),
    (("clock-skew", "worker-token"), ("sweep_endpoint_unauthorized", "clock_skew")),
    (("key-deleted", "peer-stopped"), ("key_missing", "remote_unreachable")),
    (("certificate-deleted", "manager-paused"), ("manager_paused", "cert_missing")),
    (("request-timed-out", "manager-paused"), ("manager_paused", "approval_timed_out")),
)
"""Two faults, in the order in which they are staged, and the causes, the root first."""


class ForkedDaemon(ChildDaemon):
    """The demo's daemon, its imports done; `tests/cli/test_demo.py` has those that start cold."""

    def _launched(self, log: int) -> Any:
        return Forked(
            ["serve", "--until-eof"],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class Stage:
    """One federation for the faults of this process, built anew after one that was not made well."""

    def __init__(self) -> None:
        self._federation: Federation | None = None
        self._folder = Path()

    def ready(self) -> PracticeRange:
        """A range on which nothing is wrong."""
        if self._federation is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fedtui-range-"))
            self._federation = Federation(plan(self._folder, 2))
            for member in self._federation.nodes:
                member.daemon = ForkedDaemon(member.home, member.daemon.log)
            build(self._federation, lambda _text: None)
            await_active(self._federation, time.monotonic())
        return PracticeRange(self._federation)

    def close(self) -> None:
        """Stop the daemons, forget the homes."""
        if self._federation is not None:
            for member in self._federation.nodes:
                member.daemon.stop()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._federation = None


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def diagnosed(stand: PracticeRange, fault: Fault | None = None, **look: Any) -> Diagnosis:
    """What the doctor says at alpha."""
    with stand.opened(HERE) as node:
        return engine.diagnose(node, node.acts, DiagnosisTarget(fault.symptom if fault else None, **look))


def codes(found: Diagnosis) -> list[str]:
    return [one.cause.code for one in found.findings]


def made_well(stand: PracticeRange, **look: Any) -> None:
    """Wait until the doctor finds nothing and both nodes are at ease with each other: so the next fault begins."""
    until = time.monotonic() + PATIENCE_SECONDS
    while codes(found := diagnosed(stand, **look)):
        assert time.monotonic() < until, [engine.finding_shape(one, found) for one in found.findings]
        time.sleep(0.3)
    until = time.monotonic() + PATIENCE_SECONDS
    while unease(stand, HERE) or unease(stand, THERE):
        assert time.monotonic() < until, [(name, unease(stand, name)) for name in (HERE, THERE)]
        time.sleep(0.1)


def unease(stand: PracticeRange, name: str) -> str:
    """What is still under way at a node: its peer is not active, calls to it fail, or something is owed to it."""
    with stand.opened(name) as node:
        peer = peer_of(node)
    under_way = {
        f"it is {peer.status}": peer.status != "active",
        f"calls to it fail: {peer.last_outbound_error}": peer.last_outbound_error is not None,
        "a certificate is owed to it": peer.enroll_owed,
        "its request is not signed": peer.offered_csr_pem is not None,
    }
    return "; ".join(words for words, holds in under_way.items() if holds)


def carry_out(stand: PracticeRange, found: Diagnosis) -> None:
    """Do what the findings say, each act where its operator is."""
    for one in found.findings:
        made = [fix for fix in one.sense.fixes if fix.action]
        assert made, (one.cause.code, one.sense.fixes)
        for fix in made if one.sense.together else made[:1]:
            where = HERE if fix.where == "here" else THERE
            stand.act(where, fix.action.removeprefix("system."), dict(fix.params))


def tidy(stand: PracticeRange) -> None:
    """Take the newcomer away, and drill mode."""
    with stand.opened(HERE) as node, node.read() as session:
        known = peers.by_url(session, STRANGER)
    if known is not None:
        stand.act(HERE, "federation_peer_revoke", {"peer": STRANGER, "reason": "for practice"})
    with stand.opened(HERE) as node, node.read() as session:
        drill = node_settings.is_on(session, "drill_mode")
    if drill:
        stand.act(HERE, "settings_change", {"key": "drill_mode", "value": "off"})


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_doctor_finds_it_and_the_fix_makes_it_well(stage: Stage, fault: Fault) -> None:
    """Staged, the fault yields exactly its causes, the root first; what the doctor says mends it."""
    stand = stage.ready()
    try:
        look = dict(fault.stage(stand) or {})
        found = diagnosed(stand, fault, **look)
        shown = [engine.finding_shape(one, found) for one in found.findings]
        assert codes(found) == list(fault.causes), shown
        assert all(one["evidence"] and one["explanation"] and one["fix"] for one in shown)
        for part in fault.mend:
            part.do(stand)
        if not fault.mend:
            carry_out(stand, found)
        tidy(stand)
        made_well(stand, **{name: what for name, what in look.items() if name == "peer"})
        made_well(stand)
    except BaseException:
        stand.stop_beside()
        stage.close()
        raise


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("names", "expected"), AT_ONCE, ids=lambda one: "+".join(one))
def test_two_faults_at_once_are_both_named_the_root_first(
    stage: Stage, names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """Asked for nothing in particular, the doctor names both, the node's own before its peer's; each is mended by what
    mends it alone."""
    stand, faults = stage.ready(), [BY_NAME[name] for name in names]
    try:
        for fault in faults:
            assert not fault.stage(stand), "what is looked at in particular is for one fault alone"
        found = diagnosed(stand)
        assert codes(found) == list(expected), [engine.finding_shape(one, found) for one in found.findings]
        by_acts = {code for fault in faults if not fault.mend for code in fault.causes}
        carry_out(stand, replace(found, findings=tuple(one for one in found.findings if one.cause.code in by_acts)))
        for fault in reversed(faults):  # what was broken last stands in the way of mending the other
            for part in fault.mend:
                part.do(stand)
        tidy(stand)
        made_well(stand)
    except BaseException:
        stand.stop_beside()
        stage.close()
        raise


@pytest.mark.timeout(120)
def test_a_healthy_node_yields_no_finding(stage: Stage) -> None:
    """Two nodes that are active with each other: nothing is found on either, and every check says so."""
    stand = stage.ready()
    for name in (HERE, THERE):
        with stand.opened(name) as node:
            found = engine.diagnose(node, node.acts, DiagnosisTarget())
        assert found.findings == ()
        assert {one.outcome.state for one in found.seen} <= {"ok", "skipped"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["silent-there", "wrong-anchor", "suspended-there"])
def test_the_others_do_their_part_once_they_are_told(stage: Stage, name: str) -> None:
    """By what the wizard offers alone: beta's people do what they are told of, by hand or by the act that the fix
    names, ben approves what is asked for; the incident closes as fixed, and the notice says how to leave."""
    stand, fault, said = stage.ready(), BY_NAME[name], list[str]()
    try:
        people = People(stand, fault, fault.stage(stand) or {}, Path("env"), said.append)
        with stand.opened(HERE) as node:
            actor = node.actor("test")
            people.step(node)
            incident = node.begin_incident(actor, DiagnosisTarget(fault.symptom))
            fix = node.look(actor, incident).findings[0].fix
            assert fix is not None
            people.step(node)
            node.mend(actor, incident, fix)
            until = time.monotonic() + PATIENCE_SECONDS
            while node.standing(incident).step != "done":
                assert time.monotonic() < until, said
                people.step(node)
                node.look(actor, incident)
            assert node.standing(incident).outcome == "fixed"
            while "well done" not in said[-1]:
                assert time.monotonic() < until, said
                people.step(node)
    except BaseException:
        stage.close()
        raise
    assert said[0] == "Practice: something is wrong here. Find it: :doctor-all"
    assert "the cause is named" in said[1]
    assert ("ben, your colleague" if name == "wrong-anchor" else "beta's people: told") in said[2]
    assert said[-1].startswith("Practice: well done. q leaves. Another: fedtui demo --fault ")
    made_well(stand)


def test_every_cause_is_staged_or_said_not_to_be() -> None:
    """Each cause of the catalogue has a fault, or stands in the list of those that cannot be staged."""
    staged = {code for fault in FAULTS for code in fault.causes}
    assert staged | UNSTAGED == set(causes.BY_CODE)
    assert not staged & UNSTAGED


def test_faults_are_for_practice_only(tmp_path: Path) -> None:
    """A home that the demo did not make is refused."""
    with pytest.raises(Refused) as caught:
        require_practice(tmp_path)
    assert caught.value.code == "not_for_practice"
    (tmp_path / MARKER).touch()
    with suppress(Problem):
        require_practice(tmp_path)
