"""Print a generated page, or write it: `python -m tests.docs reference|schema [--write]`."""

from __future__ import annotations

import argparse
import sys

from tests.docs.pages import PAGES


def main() -> int:
    """Generate one page. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__)
    parser.add_argument("page", choices=sorted(PAGES))
    parser.add_argument("--write", action="store_true", help="write the page into fedtui/docs instead of printing it")
    arguments = parser.parse_args()
    page = PAGES[arguments.page]
    if arguments.write:
        page.path.write_text(page.generate(), encoding="utf-8")
    else:
        sys.stdout.write(page.generate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
