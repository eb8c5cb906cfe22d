"""Every benchmark, one after another: `python -m tests.benchmarks`, or only some: `python -m tests.benchmarks sweep`.

The results are kept in `results.md`. All of them take about half an hour, and want a machine that does nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module

from tests.benchmarks import reporting

ALL = {
    "sweep": "The sweep",
    "heartbeats": "Heartbeats over mTLS",
    "inbound": "Attacks from the network",
    "decisions": "Decisions of the authorization chain",
    "programs": "Starts, the doctor, the daemon's memory",
    "console": "The console",
    "pages": "Pages of the tables, and Home",
    "governance": "The governance scan",
    "metrics": "A scrape of the metrics",
    "record": "Events: emitting, sealing, verifying",
}


def main() -> None:
    """Run those that are named, or all."""
    wanted = sys.argv[1:] or list(ALL)
    if unknown := [name for name in wanted if name not in ALL]:
        raise SystemExit(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(ALL)}.")
    for name in wanted:
        reporting.begin(ALL[name], name)
        import_module(f"tests.benchmarks.{name}").main()
        reporting.say("")
        reporting.keep(list(ALL.values()))


if __name__ == "__main__":
    main()
