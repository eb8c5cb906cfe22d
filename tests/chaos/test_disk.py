"""A disk that fills up under a running node: real processes on a small file system of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomli_w

from tests.cli.conftest import QUICK, Home, free_port, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.sqlite]
SIZE = "6m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(place)],
        capture_output=True, text=True, check=False,
    ) if os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("only an account that may mount can make a disk to fill up")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more goes in."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return ballast


def test_a_full_disk_is_said_and_outlasted(disk: Path, tmp_path: Path) -> None:
    """Command, doctor and log say that there is no room and what to do, without a traceback; the daemon lives, and
    with room again it goes on by itself: the jobs run, the act goes through, the record is whole."""
    port = free_port()
    home = Home(disk / "node", f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
    home.path.mkdir(mode=0o700)
    (home.path / "config.toml").write_text(tomli_w.dumps({"listen": home.listen, **QUICK}))
    home.ok("init", "--name", "node", "--url", home.url, "--single-operator")
    daemon = home.serve(log=tmp_path / "daemon.log")
    propose = ("peers", "propose", "https://b.example")
    try:
        ballast = fill(disk)
        said = home.ok(*propose, code=3)["error"]
        assert (said["code"], "no room" in said["problem"], "df -h" in said["fix"]) == (
            "database_unavailable",
            True,
            True,
        )
        told = home.run("demo", "--keep", str(disk / "demo"), "--headless")
        assert (told.code, "There is no room left on the disk" in told.err) == (3, True), told
        until(lambda: "no room left" in (tmp_path / "daemon.log").read_text(), "the log says it")

        def named() -> bool:
            found = {one["cause"]: one["explanation"] for one in home.run("doctor", "--json").json["findings"]}
            return "is full" in found.get("worker_not_running", "")

        until(named, "the doctor says it", 60)
        assert daemon.poll() is None
        ballast.unlink()
        now = datetime.now(UTC)

        def works() -> bool:
            ran = {one["job"]: one["last_finished_at"] for one in home.ok("manager", "status")["jobs"]}
            return datetime.fromisoformat(ran["sdwan_manager"] or "1970-01-01T00:00:00+00:00") > now

        until(works, "the jobs run again", 60)
        home.ok(*propose, code=4)
        assert home.ok("events", "verify")["ok"] is True
        assert home.ok("db", "check") == {"ok": True}
        assert "Traceback" not in (tmp_path / "daemon.log").read_text()
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        if daemon.stdout is not None:
            daemon.stdout.close()
