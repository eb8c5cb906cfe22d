"""console.toml: keys, refresh and theme; what cannot be is refused in words before the console opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_node import FakeNode, console, in_loop, page, settled, table, trail, until, zoo

from fedtui.core.errors import Problem, Unusable, WrongUsage
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.shell import console_file
from fedtui.screens.shell.commands import BY_NAME, COMMANDS, DIALOGS
from fedtui.screens.shell.help import HelpScreen
from fedtui.screens.shell.prompt import CommandPrompt


def written(home: Path, text: str) -> console_file.ConsoleFile:
    """The file with this text, read."""
    (home / console_file.FILE).write_text(text)
    return console_file.load(home)


def test_without_a_file_everything_is_as_it_comes(tmp_path: Path) -> None:
    """No file, an empty one and one of comments change nothing."""
    assert console_file.load(tmp_path) == console_file.ConsoleFile()
    assert written(tmp_path, "# nothing\n") == console_file.ConsoleFile()


def test_keys_refresh_and_theme_are_read(tmp_path: Path) -> None:
    """Keys are written as people write them, one or several; refresh is a duration or seconds."""
    file = written(
        tmp_path,
        'refresh = "2s"\ntheme = "high-contrast"\n'
        '[keys]\ndoctor = "F2"\nsort = ["ctrl+o", "*"]\nhelp = ["?", "f1"]\nsuspend = "Del"\nmark = "m"\n',
    )
    assert file == console_file.ConsoleFile(
        {"doctor": "f2", "sort": "ctrl+o,asterisk", "help": "question_mark,f1", "suspend": "delete", "mark": "m"},
        2.0,
        "high-contrast",
    )
    assert written(tmp_path, "refresh = 0.5").rest == 0.5


def test_two_commands_may_change_places(tmp_path: Path) -> None:
    """A conflict is what is left after all of the file: exchanging two keys is none."""
    file = written(tmp_path, '[keys]\nsuspend = "R"\nresume = "S"\n')
    assert file.keys == {"suspend": "R", "resume": "S"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys = [", "cannot be read"),
        ("colour = 1", "There is: refresh, theme, keys."),
        ('theme = "high-contrst"', "Did you mean 'high-contrast'?"),
        ("theme = ['no-color']", "there is no theme"),
        ("refresh = 0.01", "from 0.25 to 60 seconds"),
        ("refresh = '2h'", "from 0.25 to 60 seconds"),
        ("refresh = 'often'", "refresh cannot be 'often'"),
        ("refresh = true", "refresh cannot be True"),
        ("refresh = nan", "refresh cannot be nan"),
        ("keys = 3", "Begin a line with [keys]"),
        ("[keys]\nsuspnd = 'Z'", "Did you mean 'suspend'?"),
        ("[keys]\nsuspend = 'd'", "In the same place it is doctor's."),
        ("[keys]\nsuspend = 'Z'\nresume = 'Z'", "In the same place it is suspend's."),
        ("[keys]\npropose = 'j'", "In the same place it is down's."),
        ("[keys]\nsuspend = 'y'", "it answers dialogs"),
        ("[keys]\nrevoke = 'enter'", "it answers dialogs"),
        ("[keys]\nrevoke = 'Esc'", "it answers dialogs"),
        ("[keys]\nquit = 'ctrl+c'", "it answers dialogs"),
        ("[keys]\nsort = 'ctrl+s'", "no key that every terminal sends"),
        ("[keys]\nsort = 'hyper+k'", "no key that every terminal sends"),
        ("[keys]\nsort = 'page up'", "no key that every terminal sends"),
        ("[keys]\nsort = 7", "no key that every terminal sends"),
        ("[keys]\nsort = '\\u001b'", "no key that every terminal sends"),
        ("[keys]\nsort = ''", "no key that every terminal sends"),
        ("[keys]\nhelp = []", "Every command with a key keeps one."),
        ("[keys]\nconfirm = 'S'", "the same in every dialog"),
        ("[keys]\nback = 'b'", "the same in every dialog"),
        ("[keys]\nleave = 'Q'", "the same in every dialog"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    """Every mistake has a problem, a cause and a fix; none is a crash."""
    with pytest.raises(WrongUsage) as caught:
        written(tmp_path, text)
    problem = caught.value
    assert said in f"{problem.problem} {problem.cause} {problem.fix}"
    assert problem.problem
    assert problem.cause
    assert problem.fix


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """A directory in its place, or no permission to read it, is told as what it is."""
    (tmp_path / console_file.FILE).mkdir()
    with pytest.raises(Unusable, match=r"console\.toml cannot be opened"):
        console_file.load(tmp_path)


def test_no_key_can_be_made_to_confirm_or_to_open_by_itself(tmp_path: Path) -> None:
    """No command outside of dialogs can be put on a key that answers one, and no dialog's key can be moved."""
    answering = {key for one in COMMANDS if one.name in ("confirm", "press", "cancel") for key in one.keys.split(",")}
    answering -= {"space"}  # it marks; on a button it presses, and Cancel is the one in focus
    for command in COMMANDS:
        dialog = set(command.where) <= DIALOGS
        for key in answering:
            with pytest.raises(Problem):
                written(tmp_path, f'[keys]\n{command.name} = "{key}"')
        if dialog:
            with pytest.raises(Problem):
                written(tmp_path, f'[keys]\n{command.name} = "f9"')


@in_loop
async def test_rebound_keys_work_and_are_shown(tmp_path: Path) -> None:
    """The new key acts, the old one does nothing, and key line, prompt, help and hints show the new one."""
    moved = {"suspend": "Z", "sort": "f3", "propose": "f4", "down": "e", "confirm-endpoint": "f5"}
    file = written(tmp_path, "[keys]\n" + "".join(f'{name} = "{key}"\n' for name, key in moved.items()))
    node = FakeNode(zoo())
    app = console(node, file=file)
    async with app.run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        assert "Z suspend" in page(pilot)
        assert "f3 sort" in page(pilot).lower()
        await pilot.press("s")
        assert "by urgency" in trail(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: "by url" in trail(pilot))
        [before, _] = table(pilot).position or (0, 0)
        await pilot.press("e", "e")
        await until(pilot, lambda: table(pilot).position == (before + 2, 14))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "Z :suspend" in page(pilot))
        await pilot.press("question_mark", "colon", *"susp")
        await until(pilot, lambda: isinstance(app.screen, CommandPrompt) and "suspend Z" in page(pilot))
        await pilot.press("escape", "g", "S", "Z")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await pilot.press("escape")
    async with console(FakeNode(), file=file).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert f"F4 {BY_NAME['propose'].help}" in page(pilot)


@in_loop
async def test_the_next_console_has_its_own_keys() -> None:
    """What one console was told about keys does not reach the next one in the same process."""
    async with console(FakeNode(zoo())).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "S suspend" in page(pilot)


@in_loop
async def test_refresh_makes_tables_rest() -> None:
    """With a longer refresh a change shows later, not at once; what one asks for is still read at once."""
    node = FakeNode(zoo())
    app = console(node, file=console_file.ConsoleFile(rest=60.0))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.drop(zoo()[0].id)
        await pilot.pause(0.8)
        assert "of 14" in trail(pilot)
        await pilot.press("r")
        await until(pilot, lambda: "of 13" in trail(pilot))
