"""Every benchmark, one after another: `python -m tests.benchmarks`, or only some: `python -m tests.benchmarks sweep`.

The console's needs a terminal's time and more minutes: `python -m tests.benchmarks.console`.
"""

from __future__ import annotations

import sys
from importlib import import_module

from tests.benchmarks.decisions import say

ALL = {
    "sweep": "The sweep",
    "heartbeats": "Heartbeats over mTLS",
    "decisions": "Decisions of the authorization chain",
    "programs": "Starts, the doctor, the daemon's memory",
    "governance": "The governance scan",
    "metrics": "A scrape of the metrics",
    "record": "Events: emitting, sealing, verifying",
}


def main() -> None:
    """Run those that are named, or all."""
    for name in sys.argv[1:] or ALL:
        say(f"\n## {ALL[name]}\n")
        import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
