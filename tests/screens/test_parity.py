"""Every operation is reachable from the shell, the console and MCP, or its declaration says why not."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest
from fake_node import FakeNode, console, in_loop, until

import fedtui
import fedtui.screens
from fedtui.core.node import Node
from fedtui.core.operations import form
from fedtui.core.operations.policies import RULES
from fedtui.mcp.server import TOOLS
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.node.action import NodeAct
from fedtui.screens.node.forms import FORM_ACTS, FORMS
from fedtui.screens.node.lists import LISTS
from fedtui.screens.records.model import RecordAct
from fedtui.screens.shell.commands import BY_NAME
from fedtui.screens.widgets.paint import Lines
from tests.conftest import ManualClock

CLI = Path(fedtui.__file__).parent / "cli"


def in_the_shell() -> Iterator[str]:
    """The operations that commands of the shell ask for."""
    for file in CLI.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "ask":
                yield from (str(given.value) for given in call.args[:1] if isinstance(given, ast.Constant))


def in_the_console() -> Iterator[str]:
    """The operations that the console's tables of actions ask for."""
    for module in pkgutil.walk_packages(fedtui.screens.__path__, "fedtui.screens."):
        for table in vars(import_module(module.name)).values():
            if isinstance(table, Mapping):
                yield from (row.action for row in table.values() if isinstance(row, NodeAct | RecordAct))


def by_mcp() -> Iterator[str]:
    """The operations that tools ask for."""
    for tool in TOOLS:
        cells = zip(tool.run.__code__.co_freevars, tool.run.__closure__ or (), strict=True)
        yield from (cell.cell_contents for name, cell in cells if name == "action")


FACES = {"shell": in_the_shell, "console": in_the_console, "mcp": by_mcp}


@pytest.mark.parametrize("face", FACES)
def test_every_operation_has_every_face(node: Node, face: str) -> None:
    """An operation is offered by a face, or is absent from it for a stated reason; never both."""
    offered = set(FACES[face]())
    absent = {action for action, operation in node.acts.items() if face in operation.absent}
    assert set(node.acts) - offered - absent == set()
    assert offered & absent == set()
    assert all(reason for operation in node.acts.values() for reason in operation.absent.values())


def test_each_form_has_its_command(node: Node) -> None:
    """A form that an operation declares is a command of the console, with its permission and its danger."""
    declared = {name: action for action, operation in node.acts.items() for name in operation.forms}
    assert declared == FORMS
    assert set(FORM_ACTS) == set(FORMS)
    for name, action in declared.items():
        command = BY_NAME[name]
        assert command.permission == RULES[action].permission, name
        assert (command.danger == "dangerous") is node.acts[action].forms[name].dangerous, name


def test_each_list_has_its_rows(node: Node) -> None:
    """Every list of the console has rows in the core, each with the columns that are shown."""
    for name, listed in LISTS.items():
        rows = node.rows_of(name)
        assert all(set(listed.columns) <= set(row) for row in rows), name
    assert node.rows_of("policies")


@in_loop
async def test_a_list_keeps_its_columns() -> None:
    """The short lists of the node are shown with their columns aligned, and what changes them."""
    app = console(FakeNode(), place="home")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.shared.node is not None)
        await pilot.press("colon", *"inventory", "enter")
        await until(pilot, lambda: isinstance(app.screen, Shown))
        shown = app.screen.query_one("#told", Lines)
        await until(pilot, lambda: len(shown.shown) > 3)
        lines = [part.text for line in shown.shown for part in line.parts]
    assert "Kind  Added by" in lines
    assert "doc   alice" in lines
    assert any(line.startswith(":serve-kind") for line in lines)


def test_pem_keeps_its_lines(clock: ManualClock) -> None:
    """A certificate that was pasted into a field of one line is read as if it had its line ends."""
    text = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n"
    assert form.pem(text.replace("\n", " ")) == text
    assert form.pem("no certificate") == "no certificate"
