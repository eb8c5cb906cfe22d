"""The doctor, the guided wizard, incidents and escalation from the command line: shapes, exit codes, words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedtui.cli import guided
from fedtui.core.diagnosis import causes
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.model import Finding, Fix, Match, Subject
from fedtui.core.diagnosis.progress import IncidentState, Tried
from tests.homes import Home, MakeHome

SHAPE = {"symptom", "cause", "severity", "peer_id", "subject", "evidence", "explanation", "fix", "hint_url"}


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    """A single operator's node with a daemon. Its jobs are late only where a machine does nothing for half a minute."""
    home = make_home("alpha", "--single-operator", manager_interval="10s", heartbeat_interval="10s", lease_ttl="30s")
    home.serve()
    return home


def test_healthy_and_not(home: Home) -> None:
    """Nothing wrong: exit 0. A paused manager: exit 1 with cause, evidence and fix; not from critical on."""
    well = home.ok("doctor")
    assert (well["ok"], well["findings"]) == (True, [])
    assert {"checked_at", "duration_ms"} <= set(well)
    home.ok("manager", "pause", "--reason", "test")
    ill = home.ok("doctor", code=1)
    [found] = ill["findings"]
    assert set(found) >= SHAPE
    assert (found["cause"], found["fix"]["action"]) == ("manager_paused", "system.manager_resume")
    assert {"title", "command", "action", "params", "needs_approval"} <= set(found["fix"])
    assert home.ok("doctor", "--fail-on", "critical")["ok"] is True
    assert home.ok("doctor", "partial_mtls")["findings"] == []
    assert "nothing was looked at" in home.run("doctor", "partial_mtls").out, "there is no peer: that is not all well"
    told = home.run("doctor", "approval_blocked")
    assert (told.code, "HIGH  manager_paused" in told.out, "fix : Resume" in told.out) == (1, True, True)
    assert "FAILED  The SDWAN Manager is not paused" in told.err


def test_quiet_prints_nothing_unless_something_is_wrong(home: Home) -> None:
    """What cron would mail: nothing of a node that is well or not ill enough; of one that is ill, the causes."""
    well = home.run("doctor", "--quiet")
    assert (well.code, well.out, well.err) == (0, "", "")
    home.ok("manager", "pause", "--reason", "test")
    ill = home.run("doctor", "--quiet", "--fail-on", "critical")
    assert (ill.code, ill.out, ill.err) == (0, "", "")
    ill = home.run("doctor", "--quiet")
    assert (ill.code, "HIGH  manager_paused" in ill.out, ill.err) == (1, True, "")


def test_wrong_words_are_told(home: Home) -> None:
    """An unknown symptom, severity or peer: exit 2, with what there is."""
    assert "stuck_accepted" in home.ok("doctor", "headache", code=2)["error"]["cause"]
    assert home.run("doctor", "--fail-on", "purple").code == 2
    assert home.ok("doctor", "--peer", "https://nobody.example", code=2)["error"]["code"] == "peer_not_found"
    assert home.ok("doctor", "--text", "the weather is fine", code=2)["error"]["code"] == "text_not_recognised"
    assert home.ok("incidents", "show", "0000", code=2)["error"]["code"] == "incident_not_found"
    assert home.ok("escalate", "--title", "x", code=2)["error"]["code"] == "change_request_invalid"


def test_a_text_and_a_token_are_looked_up(home: Home) -> None:
    """A pasted line leads to its symptom; a token that was mistyped is named, and is not printed."""
    told = home.run("doctor", "--text", "-", stdin="[PeerClient] partial mTLS config — cert_pem=true, key_pem=false; x")
    assert (told.code, "half there" in told.err) == (0, True)
    token = "ft1" + "abcdefghij234567" * 4
    found = home.run("doctor", "token_mismatch", "--token", "-", "--json", stdin=token)
    assert (found.code, "token_mistyped" in found.out, token in found.out) == (1, True, False)


def test_guided_from_cause_to_proof(home: Home, tmp_path: Path) -> None:
    """Line by line: the cause, a fix by its number, yes, and the proof; then the transcript can be exported."""
    home.ok("manager", "pause", "--reason", "test")
    left = home.run("doctor", "--guided", stdin="7\nb\nn\nA note of mine\nq\n")
    assert (left.code, "stays open" in left.out, "That is none of them" in left.out) == (1, True, True)
    assert "Event: " in left.out
    [open_one] = home.ok("incidents", "list")
    again = home.run("doctor", "--incident", open_one["id"][:13], stdin="u\nResume by itself\nIt should.\n")
    assert (again.code, "Handed up" in again.out) == (1, True), again
    noted = [line["content"] for line in home.ok("incidents", "show", open_one["id"])["transcript"]]
    assert {"text": "A note of mine"} in noted
    closed = home.run("doctor", "--guided", "--incident", open_one["id"])
    assert (closed.code, "That incident is closed" in closed.err) == (3, True)
    assert home.ok("doctor", "--guided", code=2)["error"]["code"] == "guided_is_text"
    done = home.run("doctor", "approval_blocked", "--guided", stdin="1\nyes\n")
    assert (done.code, "Every check passes" in done.out) == (0, True), done
    assert "\x1b" not in done.out
    incidents = home.ok("incidents", "list")
    assert [one["outcome"] for one in incidents] == ["fixed", "escalated"]
    fixed = incidents[0]["id"]
    assert home.ok("incidents", "list", "--open") == []
    shown = home.ok("incidents", "show", fixed[:20])
    assert [line["kind"] for line in shown["transcript"]][-1] == "closed"
    text = home.run("incidents", "export", fixed, "--format", "md")
    assert text.out.startswith("# An act waits for approval")
    assert home.run("incidents", "export", fixed, "--format", "xml").code == 2
    file = tmp_path / "incident.json"
    assert home.run("incidents", "export", fixed, "--format", "json", "--to", str(file)).code == 0
    assert '"fixed"' in file.read_text()


def test_guided_shows_its_evidence_and_can_be_closed_without_the_proof(home: Home) -> None:
    """`e` says what was seen, where and when; `c` asks why and ends the incident, which stays as it was found."""
    home.ok("manager", "pause", "--reason", "test")
    closed = home.run("doctor", "--guided", stdin="e\nc\nit is planned\n")
    assert (closed.code, "without the proof" in closed.out) == (1, True), closed
    assert "  manager status: paused. From agents, at " in closed.out
    [incident] = home.ok("incidents", "list")
    assert (incident["outcome"], incident["causes"]) == ("explained", ["manager_paused"])
    last = home.ok("incidents", "show", incident["id"])["transcript"][-1]
    assert last["content"] == {"outcome": "explained", "reason": "it is planned"}


def test_guided_says_what_became_of_a_request(make_home: MakeHome) -> None:
    """A fix that waits for approval: rejected, it says so with the reason and offers the fixes again; it is written
    down once."""
    home = make_home("alpha", heartbeat_interval="10s", manager_interval="10s", lease_ttl="30s")
    home.ok("policies", "set", "system.manager_resume", "require_approval")
    home.ok("operators", "add", "ben")
    home.serve()
    home.ok("manager", "pause", "--reason", "test")
    left = home.run("doctor", "approval_blocked", "--guided", stdin="1\nyes\nq\n")
    assert (left.code, "Can decide: ben." in left.out) == (1, True), left
    [incident] = home.ok("incidents", "list", "--open")
    again = ("doctor", "--guided", "--incident", incident["id"])
    [asked] = home.ok("approvals", "list", "--status", "pending")
    home.ok("approvals", "reject", asked["id"], "--reason", "it is meant", operator="ben")
    said = home.run(*again, stdin="1\nyes\nq\n")
    assert "The fix was not carried out: its request is rejected (it is meant)." in said.out, said
    [asked] = home.ok("approvals", "list", "--status", "pending")
    home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"], operator="ben")
    home.ok("manager", "tick")
    done = home.run(*again)
    assert (done.code, "The fix was approved by ben, and carried out." in done.out) == (0, True), done


@pytest.mark.parametrize(("together", "joined"), [(True, "then"), (False, "or instead")])
def test_guided_says_how_fixes_belong_together(capsys: pytest.CaptureFixture[str], together: bool, joined: str) -> None:
    """Steps of one change, or one in place of the other; and what was carried out before."""
    sense = Match("It is so.", fixes=(Fix("Issue a grant"), Fix("Declare the kind")), together=together)
    one = Finding(causes.BY_CODE["kind_mismatch"], Subject("decision", "d", "a call", "p"), sense)
    before = Tried("Issue a grant", "", "done", datetime(2026, 3, 1, 3, 12, tzinfo=UTC), "ada")
    guided._causes(Diagnosis(datetime.now(UTC), 0.0, (), (one,)), IncidentState("i", "cause", "ada", tried=(before,)))
    told = capsys.readouterr().out
    assert "Fix 1: Issue a grant. Carried out at 2026-03-01 03:12:00 UTC, by ada." in told
    assert f"Fix 2, {joined}: Declare the kind.\n" in told


def test_guided_it_stays_open_while_a_check_of_its_subject_fails(home: Home) -> None:
    """Sought under the wrong symptom, the paused manager is named and mended all the same. The daemon does not take
    the worker's token: said with its cause, that keeps the incident open; where it is not asked, all is well."""
    home.ok("manager", "pause", "--reason", "test")
    beside = home.ok("doctor", "degraded")
    assert ([one["cause"] for one in beside["elsewhere"]], beside["keeps_open"]) == (["manager_paused"], [])
    told = home.run("doctor", "degraded")
    assert (told.code, "explain it" in told.out, "HIGH  manager_paused" in told.out) == (0, True, True)
    wrong = {"FEDTUI_WORKER_TOKEN": "not the daemon's"}
    left = home.run("doctor", "approval_blocked", "--guided", stdin="1\nyes\nq\n", **wrong)
    assert (left.code, "not every check passes" in left.out) == (1, True), left
    assert "Cause: sweep_endpoint_unauthorized" in left.out
    [incident] = home.ok("incidents", "list", "--open")
    assert incident["causes"] == ["manager_paused", "sweep_endpoint_unauthorized"]
    done = home.run("doctor", "--guided", "--incident", incident["id"][:13])
    assert (done.code, "Every check passes" in done.out) == (0, True), done
    assert home.ok("incidents", "show", incident["id"])["outcome"] == "fixed"


def test_handing_up_closes_the_incident(home: Home) -> None:
    """A change request carries its incident's transcript, and is listed; the incident ends as escalated."""
    home.ok("manager", "pause", "--reason", "test")
    home.run("doctor", "--guided", stdin="q\n")
    [incident] = home.ok("incidents", "list")
    home.run("incidents", "note", incident["id"], "the vendor says it is known")
    filed = home.ok("escalate", "--title", "Resume by itself", "--body", "It should.", "--incident", incident["id"])
    assert home.ok("incidents", "show", incident["id"])["outcome"] == "escalated"
    assert home.ok("escalate", "--list")[0]["id"] == filed["id"]
    text = home.run("escalate", "--export", filed["id"][:20])
    assert "# Resume by itself" in text.out
    assert "the vendor says it is known" in text.out


def test_the_faults_are_listed(home: Home) -> None:
    """`demo --list-faults` names what can be broken; another name is refused with the list."""
    faults = home.ok("demo", "--list-faults")
    assert {"name", "told"} <= set(faults[0])
    assert {"daemon-stopped", "wrong-anchor", "clock-skew"} <= {one["name"] for one in faults}
    refused = home.ok("demo", "--fault", "headache", "--headless", code=2)["error"]
    assert (refused["code"], "daemon-stopped" in refused["cause"]) == ("fault_unknown", True)
