"""`console.toml` in the node's home: keys, refresh and theme of every console on this machine.

    refresh = "2s"            # how long tables rest between two looks; by default a quarter of a second
    theme = "high-contrast"   # until an operator chooses another with :theme

    [keys]                    # by the command's name in the help: one key, or several
    doctor = "D"
    reject = ["ctrl+d", "F9"]

It is the account's that the node runs under: an operator in a restricted session cannot write it, and nothing in it
decides what may be done. What cannot be is refused before the console opens.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedtui.core.errors import Unusable, WrongUsage
from fedtui.core.runtime import durations
from fedtui.screens.shell.commands import BY_NAME, COMMANDS, DIALOGS, KEYS, SIGNS, TOGETHER, Command, key_name
from fedtui.screens.widgets.palettes import PALETTES

FILE = "console.toml"
KNOWN = ("refresh", "theme", "keys")
SHORTEST, LONGEST = 0.25, 60.0
"""Seconds of rest between two looks: what a table takes by default, and what is still a live console."""
FIXED = frozenset(("escape", "enter", "y", "tab", "shift+tab", "ctrl+q", "ctrl+c"))
"""Keys that mean the same in every dialog, or lead out of the program: no command can be put on them. `y` is among
them because it confirms: it must not be what opens the dialog, too."""
FLOW = frozenset(("ctrl+s", "ctrl+z", "ctrl+backslash", "ctrl+j", "ctrl+m", "ctrl+i", "ctrl+h"))
"""Keys that terminals keep for themselves, or cannot tell from another."""
_ONE = re.compile(r"(ctrl\+)?[a-z0-9_]+|shift\+(tab|up|down|left|right|home|end)|[A-Z]")
_NAMES = {shown.lower(): name for name, shown in KEYS.items()}
_NAMED = frozenset(
    [*KEYS, *SIGNS.values(), *(f"f{n}" for n in range(1, 13)), "delete", "insert", "backspace", "home", "end"]
)


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """What it says: `keys` by the command's name, in Textual's spelling; `rest` in seconds."""

    keys: Mapping[str, str] = field(default_factory=dict)
    rest: float = SHORTEST
    theme: str = ""


def load(home: Path) -> ConsoleFile:
    """Read it; without one, everything is as it comes. Raises `WrongUsage` and `Unusable`."""
    file = home / FILE
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ConsoleFile()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"{file} cannot be read.", str(error), "Mend that line; the file is TOML: key = value.") from error
    except OSError as error:
        raise Unusable(f"{file} cannot be opened.", cause=str(error), fix=f"See who owns it: ls -l {file}") from error
    for key in said:
        if key not in KNOWN:
            raise _wrong(f"{FILE}: there is no setting {key!r}.", _near(key, KNOWN), f"There is: {', '.join(KNOWN)}.")
    return ConsoleFile(_keys(said.get("keys", {})), _rest(said.get("refresh", SHORTEST)), _theme(said.get("theme", "")))


def _wrong(problem: str, cause: str, fix: str) -> WrongUsage:
    return WrongUsage(problem, cause=cause, fix=fix, code="console_file_invalid")


def _near(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else "Nothing there has a name like it."


def _theme(given: Any) -> str:
    if given != "" and (not isinstance(given, str) or given not in PALETTES):
        cause = _near(str(given), PALETTES)
        raise _wrong(f"{FILE}: there is no theme {given!r}.", cause, f"There is: {', '.join(PALETTES)}.")
    return str(given)


def _rest(given: Any) -> float:
    """Seconds, from a number or a duration like 2s."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        seconds = None
    elif isinstance(given, str):
        try:
            seconds = durations.parse(given, field="refresh").total_seconds()
        except WrongUsage:
            seconds = None
    else:
        seconds = float(given)
    if seconds is None or not SHORTEST <= seconds <= LONGEST:
        raise _wrong(
            f"{FILE}: refresh cannot be {given!r}.",
            f"It is the rest between two looks, from {SHORTEST} to {LONGEST:.0f} seconds.",
            'Write it like refresh = "2s".',
        )
    return seconds


def _keys(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _wrong(f"{FILE}: keys is no table.", f"It is {given!r}.", "Begin a line with [keys], and write beneath.")
    keys = {name: _of_command(name, said) for name, said in given.items()}
    _require_apart(keys)
    return keys


def _of_command(name: str, said: Any) -> str:
    """The keys of one command, in Textual's spelling."""
    command = BY_NAME.get(name)
    if command is None or not _movable(command):
        why = _near(name, [one.name for one in COMMANDS if _movable(one)])
        if command is not None:
            why = "Its keys are the same in every dialog, or it leads out of the program: they stay as they are."
        raise _wrong(f"{FILE}: the keys of {name!r} cannot be set.", why, "The names stand in the help: press ? there.")
    wanted = said if isinstance(said, list) else [said]
    found = [_spelled(one) for one in wanted]
    for one, key in zip(wanted, found, strict=True):
        if key is None or key in FIXED or key in FLOW:
            raise _wrong(
                f"{FILE}: {name} cannot be on the key {one!r}.",
                "That is no key that every terminal sends."
                if key is None or key in FLOW
                else "That key means the same everywhere: it answers dialogs, leads back, or leaves.",
                'Take a letter, a digit, a sign, f1 to f12, or ctrl+letter, like doctor = "D".',
            )
    if not found:
        raise _wrong(f"{FILE}: {name} has no key.", "Every command with a key keeps one.", f'Write {name} = "D", say.')
    return ",".join(str(key) for key in found)


def _movable(command: Command) -> bool:
    """Whether a command's keys can be others: not those of dialogs, nor the ways out."""
    fixed = FIXED & set(command.keys.split(","))
    return bool(set(command.where) - DIALOGS) and not fixed


def _spelled(said: Any) -> str | None:
    """A key as Textual names it; None where it is none."""
    if not isinstance(said, str):
        return None
    if said in SIGNS:
        return SIGNS[said]
    named = _NAMES.get(said.lower(), said if len(said) == 1 else said.lower())
    if not _ONE.fullmatch(named):
        return None
    plain = named.removeprefix("ctrl+").removeprefix("shift+")
    return named if len(plain) == 1 or plain in _NAMED else None


def _require_apart(keys: Mapping[str, str]) -> None:
    """Raise `WrongUsage` where a key would have two meanings in one place."""
    for together in TOGETHER:
        met: dict[str, str] = {}
        for command in COMMANDS:
            if not set(command.where) & set(together):
                continue
            for key in filter(None, keys.get(command.name, command.keys).split(",")):
                other = met.setdefault(key, command.name)
                if other != command.name:
                    moved = command.name if command.name in keys else other
                    raise _wrong(
                        f"{FILE}: {moved} cannot be on the key {key_name(key)!r}.",
                        f"In the same place it is {other if moved == command.name else command.name}'s.",
                        "Take another key, or give that one another, too.",
                    )
