"""Child processes: the command that starts this same program again, and the environment a child gets.

Every process that fedtui starts takes its command or its environment from here. A child never runs code from the
current directory, and never sees another node's settings or an operator's login.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from fedtui.core.runtime import module_runner

INTERPRETER_OPTIONS = ("-E", "-P")
"""No PYTHON* variable counts, and neither the script's nor the current directory is searched for modules (python(1)).
Not `-I`: that also takes away the account's own site-packages, where `pip install --user` puts a program."""

PASSED_ON = frozenset(
    {
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "TMPDIR",
        "CREDENTIALS_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "LD_LIBRARY_PATH",
        "KRB5CCNAME",
        "KRB5_CONFIG",
    }
)
"""What a child of ours is given of this process's environment, besides `PASSED_ON_PREFIXES`."""
PASSED_ON_PREFIXES = ("LC_", "XDG_", "PG")
"""`PG*` configures the connection to PostgreSQL."""
PRIVATE_PREFIXES = ("FEDTUI_", "PYTHON", "SSH_")
"""What nobody else's command is given: our settings and secrets, and how this program was started."""


def command(module: str, *words: str) -> list[str]:
    """Return the command line that runs a module of this very package, for `subprocess`."""
    return [sys.executable, *INTERPRETER_OPTIONS, str(Path(module_runner.__file__).resolve()), module, *words]


def environment(inherited: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that is fedtui itself: what it needs of ours, and its node's `settings`."""
    kept = {name: text for name, text in inherited.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)}
    return {**kept, **settings}


def environment_for_command(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command that an operator configured: ours without what is private to fedtui."""
    return {name: text for name, text in inherited.items() if not name.startswith(PRIVATE_PREFIXES)}
