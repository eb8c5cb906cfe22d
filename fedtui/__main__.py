"""`fedtui` and `python -m fedtui`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, or without any words the console, and exit with its code."""
    os.umask(0o077)  # whatever this program makes is its account's alone
    if sys.argv[1:]:
        from fedtui.cli.program import run

        sys.exit(run(sys.argv[1:]))
    from fedtui.cli.console import open_console
    from fedtui.cli.guard import guarded

    sys.exit(guarded(open_console))


if __name__ == "__main__":
    main()
