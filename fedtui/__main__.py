"""`fedtui` and `python -m fedtui`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable

COMPLETING = "_FEDTUI_COMPLETE"
"""How a shell that completes a command line calls: without words, which stand in other variables."""
OBJECTS_BEFORE_A_LOOK = 10_000
"""How many more objects there may be before Python looks through the youngest for garbage."""


def main() -> None:
    """Run the command line, or without any words the console, and exit with its code."""
    _leave_out_current_directory()
    os.umask(0o077)  # whatever this program makes is its account's alone
    gc.set_threshold(OBJECTS_BEFORE_A_LOOK)  # half of what it makes first are its imports, which stay
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it would have reloaded is only now being loaded
    told_of_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if told_of_interrupts:
        # While there is nobody yet to catch it, and when there is no longer, Ctrl-C just ends us.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    work = _prepared()
    if told_of_interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = work()
    if told_of_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _leave_out_current_directory() -> None:
    """Import nothing from the directory that `python -m` searches first: it may be anybody's."""
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", _current_directory()):
        del sys.path[0]


def _current_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib is not imported yet
    except FileNotFoundError:
        return ""


def _prepared() -> Callable[[], int]:
    from fedtui.cli import streams

    streams.make_usable()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' words to programmers, with lines of source, are none for operators
    if sys.argv[1:] or COMPLETING in os.environ:
        from fedtui.cli.program import run

        return lambda: run(sys.argv[1:])
    from fedtui.cli.console import open_console
    from fedtui.cli.guard import guarded

    return lambda: guarded(open_console)


if __name__ == "__main__":
    main()
