"""Governance and change requests from the command line: shapes, exit codes, words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedtui.cli import program
from fedtui.core.bootstrap import init_node
from fedtui.core.runtime import settings


class Shell:
    """The program's own commands on one home, run in this process: a start costs more than they do."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and standard output."""
        self._capsys.readouterr()
        code = program.run(words)
        return code, self._capsys.readouterr().out

    def ok(self, *words: str, code: int = 0) -> Any:
        """With --json; the data. The exit code must be `code`."""
        ended, out = self.run(*words, "--json")
        assert ended == code, (words, out)
        return json.loads(out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A node of a single operator, ada."""
    environment = {"FEDTUI_HOME": str(tmp_path / "a"), "FEDTUI_OPERATOR": "ada"}
    init_node(settings.load(environment), name="a", url="https://a.example", single_operator=True).close()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Shell(capsys)


def lower(home: Shell) -> None:
    """Lower a policy."""
    home.ok(
        "policies",
        "lower",
        "system.federation_peer_revoke",
        "--to",
        "notify_and_proceed",
        "--for",
        "30m",
        "--reason",
        "fire",
    )


def test_scan_report_and_acknowledge(home: Shell, tmp_path: Path) -> None:
    """A healthy node is exit 0; a finding exits 1 from its severity on, is listed and reported, and can be taken on."""
    assert home.run("governance", "report", "--format", "md")[0] == 0, "nothing was looked for yet"
    lower(home)
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
    assert home.run("governance", "report", "--to", str(file))[0] == 1
    assert one["id"] in file.read_text() and one["fix"] in file.read_text()
    reported = json.loads(home.run("governance", "report", "--format", "json")[1])
    assert [each["id"] for each in reported["findings"]] == [one["id"]]
    taken = home.ok("governance", "acknowledge", one["id"][:20], "--reason", "drill", "--for", "7d")
    assert (taken["state"], taken["acknowledgement"]) == ("acknowledged", "drill")
    assert home.ok("governance", "scan")["open"]["high"] == 0
    assert home.ok("governance", "list") == []
    assert [each["id"] for each in home.ok("governance", "list", "--state", "all")] == [one["id"]]
    [_, said] = home.run("governance", "list", "--state", "acknowledged")[1].splitlines()
    assert "policy_lowered" in said


def test_wrong_words_are_no_traceback(home: Shell) -> None:
    """Each wrong value is named, with its code."""
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


def test_a_change_request_is_settled_and_exported(home: Shell) -> None:
    """It carries what stood open; its status is set with a reason; the export says so."""
    lower(home)
    home.run("governance", "scan")
    filed = home.ok("escalate", "--title", "Fewer emergencies", "--body", "Because")
    done = home.ok("escalate", "--settle", filed["id"], "--as", "declined", "--reason", "works as meant")
    assert (done["status"], done["settlement"]) == ("declined", "works as meant")
    code, exported = home.run("escalate", "--export", filed["id"])
    assert code == 0
    for word in ("policy_lowered", "declined", "works as meant", "governance.finding.appeared"):
        assert word in exported
