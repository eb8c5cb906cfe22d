"""How child processes are started: the same package, nothing of the current directory, no more of the environment."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

import fedtui
from fedtui.core.runtime import child_process

PACKAGE = Path(fedtui.__file__).parent
STARTING = {
    "subprocess": ("Popen", "run", "call", "check_call", "check_output"),
    "asyncio": ("create_subprocess",),
    "os": ("system", "popen", "posix_spawn", "exec", "spawn"),
}
"""By module, how the names of the functions that start a process begin."""
EVIL = "from pathlib import Path\nPath({marker!r}).touch()\n"


def calls_that_start_processes() -> list[tuple[str, ast.Call]]:
    """Every call in the package that starts a process, with where it stands."""
    calls = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr.startswith(STARTING.get(ast.unparse(node.func.value), ("\0",))):
                calls.append((f"{file.relative_to(PACKAGE)}:{node.lineno}", node))
    return calls


def test_every_child_process_gets_its_environment_from_one_place() -> None:
    """No call that starts a process inherits the environment whole, or runs a module by name."""
    calls = calls_that_start_processes()
    assert len(calls) >= 3  # the daemon, the notice command, the practice range
    for place, call in calls:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("env", "") in (
            "environment",
            "self.environment()",
            "child_process.environment_for_command(os.environ)",
        ), place
        assert "'-m'" not in ast.unparse(call), place


@pytest.mark.parametrize("planted", ["fedtui", "typer", "signal"])
def test_a_child_runs_the_parents_package_and_nothing_of_the_current_directory(tmp_path: Path, planted: str) -> None:
    """Whatever lies in the current directory or on PYTHONPATH, the child is this very package."""
    marker = tmp_path / "ran"
    (tmp_path / planted).mkdir()
    for name in ("__init__.py", "__main__.py"):
        (tmp_path / planted / name).write_text(EVIL.format(marker=str(marker)))
    environment = {**child_process.environment({}, {}), "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        child_process.command("fedtui", "--version"),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"fedtui {fedtui.__version__}\n"
    assert not marker.exists()


def test_a_child_of_ours_is_given_what_it_needs_and_no_more() -> None:
    """Locale, database variables and paths pass; another node, a login, Python's options and secrets do not."""
    inherited = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PGPASSFILE": "/p",
        "CREDENTIALS_DIRECTORY": "/c",
        "FEDTUI_HOME": "/other",
        "FEDTUI_WORKER_TOKEN": "secret",
        "SSH_CONNECTION": "1",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    given = child_process.environment(inherited, {"FEDTUI_HOME": "/mine"})
    assert given == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PGPASSFILE": "/p",
        "CREDENTIALS_DIRECTORY": "/c",
        "FEDTUI_HOME": "/mine",
    }


def test_a_configured_command_sees_nothing_of_fedtuis_own() -> None:
    """The notice command keeps its own variables, and gets neither our secrets nor our Python's options."""
    inherited = {"PATH": "/bin", "SLACK_TOKEN": "theirs", "FEDTUI_WORKER_TOKEN": "ours", "PYTHONPATH": "/x"}
    assert child_process.environment_for_command(inherited) == {"PATH": "/bin", "SLACK_TOKEN": "theirs"}
