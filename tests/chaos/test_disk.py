"""A disk that fills up under a running node, or takes nothing more: real processes on a file system of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.benchmarks.terminal import Terminal, environment
from tests.chaos import locked
from tests.homes import QUICK, Home, set_up, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.sqlite]
SIZE = "6m"
READ_ONLY = "The file system with the node's database is read-only."


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if os.geteuid() == 0
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip("only an account that may mount can make a disk to fill up")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Path]:
    """A file system that the kernel makes read-only as soon as anything is wrong with it; mounted at `disk`."""
    if os.geteuid() != 0:
        pytest.skip("only an account that may mount can make a disk that fails")
    place, image = tmp_path / "disk", tmp_path / "image"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, text=True, check=False)
    mounted = made.returncode == 0 and mount(image, place)
    if not mounted:
        pytest.skip("no file system can be made in a file here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def mount(image: Path, place: Path) -> bool:
    words = ["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def fail(place: Path) -> None:
    """Let the kernel find an error in it: what ext4 keeps for testing just that."""
    device = subprocess.run(["findmnt", "-no", "SOURCE", str(place)], capture_output=True, text=True, check=True)
    (Path("/sys/fs/ext4") / Path(device.stdout.strip()).name / "trigger_fs_error").write_text("a test")


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
    home = set_up(disk / "node", "--single-operator", kind=Home, **QUICK)
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
            return "is full" in found.get("daemon_not_responding", "")

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


def test_a_disk_that_turns_read_only_is_said_and_loses_nothing(failing: Path, tmp_path: Path) -> None:
    """The kernel makes the file system read-only under daemon and console, as it does where a disk fails: reading
    goes on, command, console and log say the same words, the doctor the same cause, without a traceback, and the
    daemon lives and stops when told. Mounted anew, the next one goes on, and what was answered for is there."""
    home = set_up(failing / "node", "--single-operator", kind=Home, **QUICK)
    propose = ("peers", "propose")
    daemon = home.serve(log=tmp_path / "daemon.log")
    console = Terminal(
        "-m", "fedtui", "console", "-c", "peers", environ=environment(FEDTUI_HOME=str(home.path), FEDTUI_OPERATOR="ada")
    )
    try:
        home.ok(*propose, "https://before.example", code=4)
        console.await_text("No peers yet")
        fail(failing)
        said = home.ok(*propose, "https://meanwhile.example", code=3)["error"]
        assert said["code"] == "database_unavailable", said
        assert (said["problem"], "mount it for writing" in said["fix"]) == (READ_ONLY, True), said
        assert len(home.ok("approvals", "list")) == 1
        locked.fill_in(console, "https://console.example")
        console.press("\r")
        console.await_text(READ_ONLY)
        until(lambda: READ_ONLY in (tmp_path / "daemon.log").read_text(), "the log says it")

        def named() -> bool:
            found = {one["cause"]: one["explanation"] for one in home.run("doctor", "--json").json["findings"]}
            return "is read-only" in found.get("daemon_not_responding", "")

        until(named, "the doctor says it", 60)
        checked = home.ok("db", "check", code=1)["error"]
        assert ("is whole" in checked["problem"], "is read-only" in checked["cause"]) == (True, True), checked
        assert daemon.poll() is None
    finally:
        console.close()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        if daemon.stdout is not None:
            daemon.stdout.close()
    assert "Traceback" not in (log := (tmp_path / "daemon.log").read_text()), log
    subprocess.run(["umount", str(failing)], check=True)
    subprocess.run(["e2fsck", "-p", "-f", str(tmp_path / "image")], capture_output=True, check=False)
    assert mount(tmp_path / "image", failing)
    home.serve(log=tmp_path / "again.log")
    try:
        [kept] = home.ok("approvals", "list")
        assert kept["params"]["url"] == "https://before.example"
        home.ok(*propose, "https://meanwhile.example", code=4)
        assert home.ok("events", "verify")["ok"] is True
        assert home.ok("db", "check") == {"ok": True}
    finally:
        home.end()
