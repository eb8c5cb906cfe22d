"""Governance and change requests from the command line: shapes, exit codes, words."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Home, MakeHome


def lowered(make_home: MakeHome) -> Home:
    """A node on which a policy is lowered."""
    home = make_home("a", "--single-operator")
    home.ok("policies", "lower", "system.federation_peer_revoke", "--to", "notify_and_proceed", "--for", "30m",
            "--reason", "fire")  # fmt: skip
    return home


def test_scan_report_and_acknowledge(make_home: MakeHome, tmp_path: Path) -> None:
    """A healthy node is exit 0; a finding exits 1 from its severity on, is listed and reported, and can be taken on."""
    home = lowered(make_home)
    assert home.run("governance", "report", "--format", "md").code == 0, "nothing was looked for yet"
    scanned = home.ok("governance", "scan", code=1)
    [one] = scanned["findings"]
    assert (scanned["ok"], scanned["appeared"], scanned["open"]["high"]) == (False, 1, 1)
    assert scanned["held_back"] == ["peer_heartbeat_stale"], "this node is not listening"
    assert {"id", "kind", "severity", "state", "said", "leads_to", "fix", "first_seen", "last_seen", "peer_id"} <= set(
        one
    )
    assert (one["kind"], one["leads_to"]) == ("policy_lowered", "playbook/approval_blocked")
    assert home.ok("governance", "scan", "--fail-on", "critical")["ok"] is True
    file = tmp_path / "report.md"
    assert home.run("governance", "report", "--to", str(file)).code == 1
    assert one["id"] in file.read_text() and one["fix"] in file.read_text()
    reported = json.loads(home.run("governance", "report", "--format", "json").out)
    assert [each["id"] for each in reported["findings"]] == [one["id"]]
    taken = home.ok("governance", "acknowledge", one["id"][:20], "--reason", "drill", "--for", "7d")
    assert (taken["state"], taken["acknowledgement"]) == ("acknowledged", "drill")
    assert home.ok("governance", "scan")["open"]["high"] == 0
    assert home.ok("governance", "list") == []
    assert [each["id"] for each in home.ok("governance", "list", "--state", "all")] == [one["id"]]
    [_, said] = home.run("governance", "list", "--state", "acknowledged").out.splitlines()
    assert "policy_lowered" in said


def test_wrong_words_are_no_traceback(make_home: MakeHome) -> None:
    """Each wrong value is named, with its code."""
    home = make_home("a", "--single-operator")
    for words, exit_code, code in (
        (("governance", "list", "--kind", "nope"), 2, "kind_unknown"),
        (("governance", "list", "--severity", "nope"), 2, "severity_unknown"),
        (("governance", "list", "--state", "nope"), 2, "wrong_usage"),
        (("governance", "scan", "--fail-on", "nope"), 2, "wrong_usage"),
        (("governance", "report", "--format", "pdf"), 2, "wrong_usage"),
        (("governance", "acknowledge", "x", "--reason", "y", "--for", "1d"), 2, "finding_not_found"),
        (("settings", "set", "own_prefix", "fe80::/48"), 2, "setting_invalid"),
        (("escalate", "--settle", "x", "--as", "done", "--reason", "y"), 2, "change_request_not_found"),
    ):
        assert home.ok(*words, code=exit_code)["error"]["code"] == code, words


def test_a_change_request_is_settled_and_exported(make_home: MakeHome) -> None:
    """It carries what stood open; its status is set with a reason; the export says so."""
    home = lowered(make_home)
    home.run("governance", "scan")
    filed = home.ok("escalate", "--title", "Fewer emergencies", "--body", "Because")
    done = home.ok("escalate", "--settle", filed["id"], "--as", "declined", "--reason", "works as meant")
    assert (done["status"], done["settlement"]) == ("declined", "works as meant")
    exported = home.run("escalate", "--export", filed["id"])
    assert exported.code == 0
    for word in ("policy_lowered", "declined", "works as meant", "governance.finding.appeared"):
        assert word in exported.out
