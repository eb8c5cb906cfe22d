"""Emergencies: policies lowered as a lease, operators who leave, the break-glass, key lines, and notices."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fedtui.core.administration import authorized_keys, operators
from fedtui.core.audit import outbox
from fedtui.core.audit.events import emit, recent
from fedtui.core.bootstrap import open_node
from fedtui.core.errors import NotFound, Problem, Refused, WrongUsage
from fedtui.core.jobs import notifications
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approval_queue, approvals, gate, operator_access, overrides, policies
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in
from tests.homes import until

ADA, BEN, CLEO = Actor("operator", "ada"), Actor("operator", "ben"), Actor("operator", "cleo")
PROPOSE, REVOKE = "system.federation_peer_propose", "system.federation_peer_revoke"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFNE4/YU/qcq5BQXyXT+y8OGdI4Mezfw3OwI2BrFhe3A"


@pytest.fixture
def two(node: Node) -> Node:
    """A node with a second operator, ben."""
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Done)
    return node


def propose(node: Node, url: str = "https://b.example", actor: Actor = ADA) -> Approval:
    outcome = node.request(actor, PROPOSE, {"url": url}, reason="why not")
    assert isinstance(outcome, Pending)
    return outcome.approval


def lower(node: Node, action: str = PROPOSE, **other: Any) -> Mapping[str, Any]:
    given = {"policy_action": action, "policy": "notify_and_proceed", "span": "30m", "reason": "fire", **other}
    outcome = node.request(ADA, "system.policy_lower", given, reason="fire")
    assert isinstance(outcome, Done)
    return outcome.result


def in_force(node: Node, action: str = PROPOSE) -> str:
    with node.read() as session:
        return policies.in_force(session, action, node.clock.now())


def status(node: Node, approval: Approval) -> str:
    with node.read() as session:
        return approvals.find(session, approval.id).status


def kinds(node: Node) -> list[str]:
    with node.read() as session:
        return [event.kind for event in reversed(recent(session, limit=500))]


# --- lowering ----------------------------------------------------------------------------


def test_a_lowered_policy_lets_through_and_ends_by_the_clock(two: Node, clock: ManualClock) -> None:
    """While it is lowered the act runs at once; at its end it asks again, without anybody doing anything."""
    lower(two)
    assert isinstance(two.request(ADA, PROPOSE, {"url": "https://b.example"}), Done)
    clock.advance(minutes=29, seconds=59)
    assert in_force(two) == "notify_and_proceed"
    clock.advance(seconds=1)
    assert in_force(two) == "require_approval"
    assert isinstance(two.request(ADA, PROPOSE, {"url": "https://c.example"}), Pending)


def test_both_ends_are_announced_once_and_what_went_through_is_listed(two: Node, clock: ManualClock) -> None:
    """An event of severity high at either end, however often the manager ticks; the acts between for review."""
    lower(two)
    two.request(ADA, PROPOSE, {"url": "https://b.example"}, reason="it burns")
    clock.advance(minutes=31)
    two.request(ADA, PROPOSE, {"url": "https://c.example"})
    assert job_tasks.manager_tick(two, two.acts)["policies_restored"] == [PROPOSE]
    assert job_tasks.manager_tick(two, two.acts)["policies_restored"] == []
    assert [kind for kind in kinds(two) if kind.startswith("system.policy.")] == [
        "system.policy.lowered",
        "system.policy.restored",
    ]
    with two.read() as session:
        assert {one.severity for one in recent(session) if one.kind.startswith("system.policy.")} == {"high"}
        [row] = overrides.history(session)
        shape = overrides.shape(session, row)
    assert [one["params"]["url"] for one in shape["went_through"]] == ["https://b.example"]
    assert shape["went_through"][0]["reason"] == "it burns"
    assert (shape["restored_by"], shape["before"]) == ("the clock", "require_approval")


def test_a_lowering_ends_though_its_process_died(two: Node, clock: ManualClock) -> None:
    """Another process that opens the node afterwards finds the policy restored, and announces it at its first tick."""
    lower(two)
    two.close()
    clock.advance(hours=1)
    again = open_node(two.settings, clock=clock)
    try:
        assert in_force(again) == "require_approval"
        assert job_tasks.manager_tick(again, again.acts)["policies_restored"] == [PROPOSE]
    finally:
        again.close()


def test_restored_before_its_time(two: Node) -> None:
    """An operator can end a lowering; there is nothing to end twice."""
    lower(two)
    assert isinstance(two.request(BEN, "system.policy_restore", {"policy_action": PROPOSE}), Done)
    assert in_force(two) == "require_approval"
    with pytest.raises(Refused) as refused:
        two.request(BEN, "system.policy_restore", {"policy_action": PROPOSE})
    assert refused.value.code == "policy_not_lowered"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"policy": "auto_approve"}, "policy_floor"),
        ({"policy": "require_approval"}, "policy_not_lower"),
        ({"policy": "blocked"}, "policy_not_lower"),
        ({"policy": "open"}, "policy_unknown"),
        ({"policy_action": "system.nothing"}, "policy_unknown"),
        ({"span": "241m"}, "duration_invalid"),
        ({"span": "0s"}, "duration_invalid"),
        ({"span": "soon"}, "duration_invalid"),
        ({"reason": " "}, "reason_missing"),
    ],
)
def test_what_may_not_be_lowered(two: Node, given: Mapping[str, Any], code: str) -> None:
    """Not below the floor, not to what is not lower, not for more than four hours, not without a reason."""
    with pytest.raises(Problem) as refused:
        lower(two, **given)
    assert refused.value.code == code
    assert in_force(two) == "require_approval"


def test_one_lowering_at_a_time_and_none_out_of_a_lockdown(two: Node, make_node: MakeNode) -> None:
    """A second lowering of the same action is refused; a blocked action is not opened by lowering it."""
    lower(two)
    with pytest.raises(Refused) as refused:
        lower(two, span="4h")
    assert refused.value.code == "policy_lowered"
    alone = make_node("beta")
    alone.request(ADA, "system.policy_set", {"policy_action": PROPOSE, "policy": "blocked"})
    with pytest.raises(Refused) as refused:
        lower(alone)
    assert refused.value.code == "policy_blocked"
    with pytest.raises(Refused) as blocked:
        alone.request(ADA, PROPOSE, {"url": "https://b.example"})
    assert blocked.value.code == "policy_blocked"


@pytest.mark.parametrize("action", ["system.policy_set", "system.policy_lower", "system.policy_restore"])
def test_the_ways_back_cannot_be_blocked(node: Node, action: str) -> None:
    """Whatever is locked down, policies can be set, lowered and restored."""
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.policy_set", {"policy_action": action, "policy": "blocked"})
    assert refused.value.code == "policy_floor"


# --- the clock of the queue --------------------------------------------------------------


def test_the_clock_rejects_exactly_once_though_nobody_ran(two: Node, clock: ManualClock) -> None:
    """Past its time a request cannot be approved, is told as expired before any process noticed, and ends once."""
    asked = propose(two)
    clock.advance(hours=4)
    with pytest.raises(Refused) as refused:
        two.approve(BEN, asked.id, asked.digest)
    assert refused.value.code == "approval_timed_out"
    with two.read() as session:
        line = approval_queue.one(session, asked.id, now=clock.now())
        assert line is not None
        assert line.status == "expired"
        assert approval_queue.count(session, view=approval_queue.View(approval_queue.HISTORY, "ben", clock.now())) == 1
        assert approval_queue.count(session, view=approval_queue.View(approval_queue.FOR_ME, "ben", clock.now())) == 0
    assert [job_tasks.manager_tick(two, two.acts)["expired"] for _ in range(3)] == [1, 0, 0]
    assert kinds(two).count("system.approval.expired") == 1


def test_a_second_before_the_end_it_can_still_be_approved(two: Node, clock: ManualClock) -> None:
    """The boundary belongs to the clock: at four hours sharp it is over, a second before it is not."""
    asked = propose(two)
    clock.advance(hours=3, minutes=59, seconds=59)
    assert two.approve(BEN, asked.id, asked.digest).status == "approved"


def test_people_are_told_before_the_clock_rejects(two: Node, clock: ManualClock) -> None:
    """Half an hour before, once; not of what has been decided."""
    asked, decided = propose(two), propose(two, "https://c.example")
    two.approve(BEN, decided.id, decided.digest)
    two.request(ADA, "system.manager_pause", {})
    clock.advance(hours=3, minutes=29)
    assert job_tasks.manager_tick(two, two.acts)["about_to_expire"] == 0
    clock.advance(minutes=1)
    assert [job_tasks.manager_tick(two, two.acts)["about_to_expire"] for _ in range(2)] == [1, 0]
    with two.read() as session:
        [event] = [one for one in recent(session) if one.kind == "system.approval.expiring"]
    assert event.payload["approval_id"] == asked.id


def test_a_clock_that_jumps_neither_loses_nor_doubles(two: Node, clock: ManualClock) -> None:
    """Back, a request waits longer; forward, it ends; an approved act is carried out once all the same."""
    asked, approved = propose(two), propose(two, "https://c.example")
    clock.advance(hours=-10)
    assert job_tasks.manager_tick(two, two.acts)["expired"] == 0
    two.approve(BEN, approved.id, approved.digest)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1
    clock.advance(days=400)
    after = job_tasks.manager_tick(two, two.acts)
    assert (after["expired"], after["executed"], after["failed"]) == (1, 0, 0)
    assert (status(two, asked), status(two, approved)) == ("expired", "executed")


def test_a_critical_act_takes_a_reason_and_keeps_the_approvers(two: Node) -> None:
    """Revoking a peer cannot be undone: it is asked for with a reason, and an approver's stays on record."""
    peer_id = new_peer(two)
    with pytest.raises(WrongUsage) as refused:
        two.request(ADA, REVOKE, {"peer": peer_id})
    assert refused.value.code == "reason_missing"
    outcome = two.request(ADA, REVOKE, {"peer": peer_id, "reason": "over"}, reason="over")
    assert isinstance(outcome, Pending)
    asked = outcome.approval
    record = two.approval_record(asked.id)
    assert record is not None
    assert record.critical
    assert two.approve(BEN, asked.id, asked.digest, reason="I agree").decision_reason == "I agree"


def test_a_stale_request_says_what_has_changed(two: Node) -> None:
    """Approving what has changed since is refused, with the difference, and the record shows it beforehand."""
    peer_id = new_peer(two)
    outcome = two.request(ADA, REVOKE, {"peer": peer_id, "reason": "over"}, reason="over")
    assert isinstance(outcome, Pending)
    two.request(ADA, "system.federation_peer_edit", {"peer": peer_id, "url": "https://moved.example"})
    record = two.approval_record(outcome.approval.id)
    assert record is not None
    assert "https://moved.example" in record.changed_since
    with pytest.raises(Refused) as refused:
        two.approve(BEN, outcome.approval.id, outcome.approval.digest, reason="I agree")
    assert refused.value.code == "approval_stale"
    assert "https://moved.example" in refused.value.cause
    assert status(two, outcome.approval) == "stale"


# --- the queue's views -------------------------------------------------------------------


def test_the_views_of_the_queue(two: Node, clock: ManualClock) -> None:
    """For me: what I can decide. Mine: what I asked for. Open, and history; each page agrees with its count."""
    mine, bens = propose(two), propose(two, "https://c.example", BEN)
    rejected = propose(two, "https://d.example")
    two.decide(BEN, "reject", rejected.id, "no")

    def seen(view: str, operator: str) -> list[str]:
        here = approval_queue.View(view, operator, clock.now())
        with two.read() as session:
            page = approval_queue.page(session, view=here)
            assert len(page) == approval_queue.count(session, view=here)
            for place, line in enumerate(page):
                key = approval_queue.key(line, "deadline")
                assert approval_queue.rank(session, key, view=here) == place
                assert approval_queue.page(session, view=here, after=key) == page[place + 1 :]
                assert approval_queue.page(session, view=here, before=key) == page[:place]
        return [line.id for line in page]

    assert seen(approval_queue.FOR_ME, "ben") == [mine.id]
    assert seen(approval_queue.FOR_ME, "ada") == [bens.id]
    assert seen(approval_queue.FOR_ME, "nobody") == []
    assert seen(approval_queue.MINE, "ada") == [mine.id]
    assert seen(approval_queue.ALL_OPEN, "ada") == [mine.id, bens.id]
    assert seen(approval_queue.HISTORY, "ada") == [rejected.id]
    assert two.approval_beside(mine.id, approval_queue.ALL_OPEN, forwards=True) == bens.id
    assert two.approval_beside(bens.id, approval_queue.ALL_OPEN, forwards=False) == mine.id
    assert two.approval_beside(bens.id, approval_queue.ALL_OPEN, forwards=True) is None
    two.decide(ADA, "reject", bens.id, "no")
    assert two.approval_beside(mine.id, approval_queue.ALL_OPEN, forwards=True) is None


# --- operators ---------------------------------------------------------------------------


def test_who_leaves_takes_requests_and_approvals_along(two: Node) -> None:
    """A removed operator's requests are withdrawn, and what they approved waits for another's decision."""
    two.approve(BEN, (cleo := pending_add(two, "cleo")).id, cleo.digest)
    job_tasks.manager_tick(two, two.acts)
    bens, approved = propose(two, "https://c.example", BEN), propose(two)
    two.approve(BEN, approved.id, approved.digest)
    leaving = two.request(ADA, "system.operator_remove", {"name": "ben"})
    assert isinstance(leaving, Pending)
    two.approve(CLEO, leaving.approval.id, leaving.approval.digest)
    assert gate.execute(two, two.acts, leaving.approval.id) == "executed"
    assert (status(two, bens), status(two, approved)) == ("withdrawn", "pending")
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 0
    with pytest.raises(NotFound):
        two.approve(BEN, approved.id, approved.digest)
    two.approve(CLEO, approved.id, approved.digest)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def pending_add(node: Node, name: str) -> Approval:
    outcome = node.request(ADA, "system.operator_add", {"name": name})
    assert isinstance(outcome, Pending)
    return outcome.approval


def test_an_approval_of_one_who_left_meanwhile_is_not_carried_out(two: Node) -> None:
    """Also where the removal came between the manager's look and the act: it fails, and says why."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    with two.unit(ADA) as unit:
        operators.remove(unit, "ben")
    assert gate.execute(two, two.acts, asked.id) == "failed"
    with two.read() as session:
        assert (approvals.find(session, asked.id).error or {})["code"] == "operator_unknown"


def test_the_glass_breaks_only_when_nobody_is_left(two: Node) -> None:
    """While any operator could let anybody in it holds; then it opens loudly, and shows until another has seen it."""
    with pytest.raises(Refused) as refused:
        operator_access.recover(two, CLEO, "cleo", "locked out")
    assert refused.value.code == "not_locked_out"
    with two.unit(ADA) as unit:
        for operator in operators.listing(unit.session):
            operator.removed_at = unit.now
    operator_access.recover(two, CLEO, "cleo", "everybody left")
    assert two.overview().recovered == ("cleo",)
    with two.read() as session:
        [event] = [one for one in recent(session) if one.kind == "system.operator.recovered"]
        assert (event.severity, event.payload["reason"]) == ("critical", "everybody left")
        assert operators.require(session, "cleo", operators.MANAGE_OPERATORS)
    two.request(CLEO, "system.operator_add", {"name": "dora"})
    with pytest.raises(Refused) as own:
        operator_access.acknowledge(two, CLEO)
    assert own.value.code == "four_eyes"
    assert operator_access.acknowledge(two, Actor("operator", "dora")) == ["cleo"]
    assert two.overview().recovered == ()


def test_a_lock_out_by_policy_is_one(node: Node) -> None:
    """One operator, and every way to another asks for an approval that nobody can give: that is locked out, too."""
    for action in ("system.operator_add", "system.settings_change", "system.policy_set"):
        node.request(ADA, "system.policy_set", {"policy_action": action, "policy": "require_approval"})
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Pending)
    assert operator_access.recover(node, ADA, "ben", "nobody can approve")["operator"] == "ben"


# --- key lines ---------------------------------------------------------------------------


def test_a_key_line_forces_one_operators_console(two: Node, tmp_path: Path) -> None:
    """The line restricts, forces the command, and names the operator; written once, private, beside what is there."""
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.parent.mkdir()
    keys.write_text("ssh-rsa AAAA admin@here\n")
    command = ["/opt/fed tui/fedtui", "console", "--operator", "ben", "--restricted"]
    for new in (True, False):
        done = operator_access.authorize(two, ADA, "ben", f"{KEY} ben@laptop\n", keys, lambda _name: command)
        assert done["new"] is new
    lines = keys.read_text().splitlines()
    assert lines[0] == "ssh-rsa AAAA admin@here"
    assert lines[1:] == [
        f"restrict,pty,command=\"'/opt/fed tui/fedtui' console --operator ben --restricted\" {KEY} fedtui:ben"
    ]
    assert keys.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused) as taken:
        operator_access.authorize(two, ADA, "ada", KEY, keys, lambda _name: command)
    assert taken.value.code == "ssh_key_taken"
    assert operator_access.deauthorize(two, ADA, "ben", keys)["removed"] == 1
    assert keys.read_text() == "ssh-rsa AAAA admin@here\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        f'command="sh" {KEY}',
        f"{KEY}\n{KEY}",
        KEY[:40],
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n",
    ],
)
def test_what_is_not_one_public_key_is_refused(text: str) -> None:
    """Nothing but one line with one public key gets into authorized_keys; options of its own least of all."""
    with pytest.raises(WrongUsage) as refused:
        authorized_keys.key_of(text)
    assert refused.value.code == "ssh_key_invalid"


AS_THEY_ARE = {
    "a form feed in a comment": f"{KEY} old comment\x0c{KEY}\n".encode(),
    "bytes that are no UTF-8": b"ssh-rsa AAAA M\xfcller\n",
    "line ends of Windows": b"ssh-rsa AAAA one\r\nssh-rsa BBBB two\r\n",
    "a last line that is not ended": b"ssh-rsa AAAA one",
    "nothing": b"",
    "other separators": "ssh-rsa AAAA a\u2028b\x0bc\x1cd\x85e\n".encode(),
}
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP1xkSe3FuZZUbUiMWDyL+WwSlp5F2SOyo5RSyQZ+0Qb"


@pytest.mark.parametrize("before", AS_THEY_ARE.values(), ids=AS_THEY_ARE)
def test_authorized_keys_is_kept_byte_by_byte_but_for_the_new_line(tmp_path: Path, before: bytes) -> None:
    """Whatever stands in the file stays, through a link; taking the line away gives it back."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(before)
    link.symlink_to(real)
    assert authorized_keys.add(link, OTHER, "ben", ["fedtui"])
    ended = before if before.endswith(b"\n") or not before else before + b"\n"
    assert real.read_bytes() == ended + authorized_keys.line(OTHER, "ben", ["fedtui"]).encode() + b"\n"
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert authorized_keys.remove(link, "ben") == 1
    assert real.read_bytes() == ended


def test_keys_are_known_by_their_name_on_record_and_however_they_are_spaced(two: Node, tmp_path: Path) -> None:
    """BEN is ben in the line as in the record, so that removing ben finds it; a key with two blanks opens a shell
    all the same."""
    keys = tmp_path / "keys"
    done = operator_access.authorize(two, ADA, "BEN", KEY, keys, lambda name: ["console", "--operator", name])
    assert done["operator"] == "ben"
    assert keys.read_text().endswith("fedtui:ben\n")
    keys.write_text(keys.read_text().replace("fedtui:ben", "fedtui:BEN"))  # as an earlier version wrote it
    assert operator_access.deauthorize(two, ADA, "ben", keys)["removed"] == 1
    for blank in ("  ", "\t", " \t "):
        keys.write_text(blank.join(OTHER.split()) + " me\n")
        with pytest.raises(Refused) as refused:
            operator_access.authorize(two, ADA, "ben", OTHER, keys, lambda _name: ["x"])
        assert refused.value.code == "ssh_key_taken"


@pytest.mark.parametrize("kind", ["a directory", "a circle"])
def test_what_cannot_hold_keys_is_said(tmp_path: Path, kind: str) -> None:
    """A directory and links in a circle are refused, with what to name instead."""
    place = tmp_path / "keys"
    if kind == "a directory":
        place.mkdir()
    else:
        place.symlink_to(place)
    with pytest.raises(WrongUsage) as refused:
        authorized_keys.add(place, OTHER, "ben", ["x"])
    assert refused.value.code == "file_unusable"


def test_a_key_line_with_a_carriage_return_is_still_the_operators(tmp_path: Path) -> None:
    """An editor of Windows ends lines with one: the key is found again, and taken away."""
    file = tmp_path / "authorized_keys"
    authorized_keys.add(file, OTHER, "ben", ["fedtui"])
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert authorized_keys.add(file, OTHER, "ben", ["fedtui"]), "written anew, without it"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert authorized_keys.remove(file, "ben") == 1
    assert b"ssh-" not in file.read_bytes()


def ssh_key(*words: str) -> str:
    """A public key of one's own of a kind, as ssh-keygen writes it."""
    kind, *data = words
    parts = [kind.encode(), *(bytes.fromhex(part) for part in data)]
    return f"{kind} {base64.b64encode(b''.join(len(one).to_bytes(4, 'big') + one for one in parts)).decode()} x"


def rsa_key(bits: int) -> str:
    """An RSA public key of so many bits; its modulus need not have factors that anybody knows."""
    return ssh_key("ssh-rsa", "010001", f"00{((1 << bits) - 1):x}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rsa_key(512), "512 bits"),
        (rsa_key(1024), "1024 bits"),
        (ssh_key("ssh-dss", "05", "05", "05", "05"), "DSA"),
        (ssh_key("ssh-ed25519-cert-v01@openssh.com", "00"), "certificate"),
        (ssh_key("ssh-rsa-cert-v01@openssh.com", "00"), "certificate"),
        (ssh_key("ssh-quantum", "00"), "sshd takes these types"),
    ],
)
def test_a_key_that_sshd_would_not_take_is_refused_with_the_reason(text: str, why: str) -> None:
    """A key that is too short, of a kind that sshd has given up, or a certificate never gets into the file."""
    with pytest.raises(WrongUsage) as refused:
        authorized_keys.key_of(text)
    assert (refused.value.code, why in refused.value.cause) == ("ssh_key_invalid", True), refused.value.cause


def test_keys_that_sshd_takes_are_taken() -> None:
    """Keys of today, those of security keys among them."""
    point = (
        "04" + "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    nist = b"nistp256".hex()
    for text in (
        KEY,
        rsa_key(2048),
        rsa_key(3072),
        ssh_key("ecdsa-sha2-nistp256", nist, point),
        ssh_key("sk-ssh-ed25519@openssh.com", "9d" * 32, b"ssh:".hex()),
        ssh_key("sk-ecdsa-sha2-nistp256@openssh.com", nist, point, b"ssh:".hex()),
    ):
        assert authorized_keys.key_of(text) == " ".join(text.split()[:2])


def test_only_an_operator_on_record_gets_a_key_line(two: Node, tmp_path: Path) -> None:
    """A name that is none, or an actor who may not manage operators, writes nothing."""
    with pytest.raises(NotFound):
        operator_access.authorize(two, ADA, "zoe", KEY, tmp_path / "keys", lambda _name: ["x"])
    with pytest.raises(NotFound):
        operator_access.authorize(two, CLEO, "ben", KEY, tmp_path / "keys", lambda _name: ["x"])
    assert not (tmp_path / "keys").exists()


# --- notices -----------------------------------------------------------------------------

TAKE = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


def teller(make_node: MakeNode, command: str, **options: Any) -> Node:
    return make_node("alpha", notify_command=command, **options)


def test_what_is_grave_or_waits_is_told_with_all_one_needs(make_node: MakeNode, tmp_path: Path) -> None:
    """A request, and an event of severity high, reach the command as JSON; what is neither does not."""
    heard = tmp_path / "heard"
    node = teller(make_node, f'{sys.executable} -c "{TAKE}" {heard}')
    node.request(ADA, "system.operator_add", {"name": "ben"})
    asked = propose(node)
    lower(node)
    assert notifications.deliver(node)["told"] == 3
    assert notifications.deliver(node)["told"] == 0
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [one["event"]["kind"] for one in said] == [
        "system.approval.requested",
        "system.policy.lowered",
        "system.act",
    ]
    assert said[0]["approval"]["id"] == asked.id
    assert said[0]["approval"]["summary"].startswith("Propose to peer with")
    assert {one["node"]["name"] for one in said} == {"alpha"}


def test_a_command_that_fails_is_tried_again_later_and_seen(make_node: MakeNode, clock: ManualClock) -> None:
    """Each attempt waits longer, the outage begins and ends with one event, and the overview shows it meanwhile."""
    node = teller(make_node, f"{sys.executable} -c \"import sys; sys.exit('no such channel')\"")
    node.request(ADA, "system.operator_add", {"name": "ben"})
    propose(node)
    propose(node, "https://c.example")
    assert notifications.deliver(node)["failed"] == 2
    assert notifications.deliver(node) == {"configured": True, "told": 0, "failed": 0}
    clock.advance(seconds=15)
    assert notifications.deliver(node)["failed"] == 2
    clock.advance(seconds=15)
    assert notifications.deliver(node)["failed"] == 0
    assert node.overview().notices_failing == 2
    with node.read() as session:
        assert outbox.failing(session)[1] == "exit 1: no such channel"
    assert kinds(node).count("system.notice.failed") == 1
    object.__setattr__(node.settings, "notify_command", f'{sys.executable} -c "pass"')
    clock.advance(minutes=15)
    assert notifications.deliver(node)["told"] == 2
    assert kinds(node).count("system.notice.recovered") == 1
    assert node.overview().notices_failing == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/at/all", "could not be run"),
        ("it's not closed", "could not be run: No closing quotation"),
        ("sleep 30", "did not end within 1 s"),
    ],
)
def test_a_command_that_hangs_or_is_not_there_is_said_so(make_node: MakeNode, command: str, said: str) -> None:
    """A missing command and one that does not end are failures with their own words, and end in their time."""
    node = teller(make_node, command, notify_timeout="1s")
    with node.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
    assert notifications.deliver(node)["failed"] == 1
    with node.read() as session:
        assert said in (outbox.failing(session)[1] or "")


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_that_hangs_is_ended_with_all_it_started(make_node: MakeNode, tmp_path: Path) -> None:
    """Nothing is left behind by an attempt that was given up: else every retry would add a process."""
    left = tmp_path / "left"
    command = script(tmp_path / "hang", "sleep 300 &", f"echo $! > {left}", "wait")
    node = teller(make_node, command, notify_timeout="1s")
    with node.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
    assert notifications.deliver(node)["failed"] == 1
    until_gone(int(left.read_text()))


def until_gone(pid: int) -> None:
    """Wait until a process has ended; one that nobody has waited for yet counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z", f"{pid} has ended")


def test_a_command_that_leaves_a_process_behind_has_taken_its_notice(make_node: MakeNode, tmp_path: Path) -> None:
    """It ended well: that what it began still runs, and holds its output open, holds nobody up."""
    left = tmp_path / "left"
    command = script(tmp_path / "begin", "sleep 300 &", f"echo $! > {left}")
    node = teller(make_node, command, notify_timeout="60s")
    with node.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
    began = time.monotonic()
    try:
        assert notifications.deliver(node)["told"] == 1
        assert time.monotonic() - began < 30
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_a_daemon_that_ends_does_not_wait_for_the_command(make_node: MakeNode, tmp_path: Path) -> None:
    """The command is ended with it, the attempt does not count, and the next daemon tells the notice."""
    begun = tmp_path / "begun"
    node = teller(make_node, script(tmp_path / "slow", f"touch {begun}", "sleep 300"), notify_timeout="60s")
    with node.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
    outcomes: list[Mapping[str, Any]] = []
    delivering = threading.Thread(target=lambda: outcomes.append(notifications.deliver(node)))
    delivering.start()
    until(begun.exists, "the command runs")
    node.stopping.set()
    delivering.join(20)
    assert outcomes == [{"configured": True, "told": 0, "failed": 0}]
    with node.read() as session:
        [waiting] = outbox.due(session, node.clock.now(), limit=9)
    assert (waiting.attempts, waiting.outcome) == (0, "waiting")


def test_a_notice_is_given_up_after_a_day(make_node: MakeNode, clock: ManualClock) -> None:
    """What nobody takes for a day is not tried for ever."""
    node = teller(make_node, "false")
    with node.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
    tried = 0
    for _ in range(200):
        tried += notifications.deliver(node)["failed"]
        clock.advance(minutes=15)
    assert 90 < tried < 110
    assert node.overview().notices_failing == 0


def test_without_a_command_nothing_piles_up(two: Node) -> None:
    """Where nobody asked to be told, the outbox is emptied."""
    propose(two)
    assert notifications.deliver(two) == {"configured": False}
    with two.read() as session:
        assert session.query(outbox.Notice).count() == 0


def test_a_notice_is_written_with_its_event_or_not_at_all(two: Node) -> None:
    """A unit that fails leaves neither."""
    with pytest.raises(RuntimeError), two.unit(ADA) as unit:
        emit(unit, "system.manager.paused", source="test")
        raise RuntimeError
    with two.read() as session:
        assert session.query(outbox.Notice).filter_by(kind="system.manager.paused").count() == 0
    assert timedelta(hours=24) == outbox.GIVE_UP_AFTER


# --- the manager reconciles --------------------------------------------------------------


def test_the_manager_probes_degraded_peers_and_no_others(two: Node, clock: ManualClock) -> None:
    """Each tick calls the degraded that were not called lately; never the suspended; paused, nobody."""
    found = {
        status_: new_peer(two, f"https://{status_}.example")
        for status_ in ("degraded", "suspended", "active", "revoked")
    }
    for status_, peer_id in found.items():
        put_in(two, peer_id, status_)
    outcome = job_tasks.manager_tick(two, two.acts)
    assert (outcome["probed"], outcome["answered"]) == (1, 0)
    with two.read() as session:
        tried = {status_ for status_, peer_id in found.items() if peers.get(session, peer_id).last_outbound_attempt_at}
    assert tried == {"degraded"}
    assert job_tasks.manager_tick(two, two.acts)["probed"] == 0, "not again so soon"
    clock.advance(minutes=1)
    assert job_tasks.manager_tick(two, two.acts)["probed"] == 1
    two.request(ADA, "system.manager_pause", {})
    clock.advance(minutes=1)
    assert "probed" not in job_tasks.manager_tick(two, two.acts)
