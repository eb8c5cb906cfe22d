"""Every benchmark, one after another: `python -m tests.benchmarks`, or only some: `python -m tests.benchmarks sweep`.

The results replace the sections of these benchmarks in `results.md`; with `--print` they are only printed. All of them
take about half an hour, and want a machine that does nothing else.
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


def usage() -> str:
    """What can be run, and what becomes of the results."""
    names = "".join(f"  {name:<12}{title}\n" for name, title in ALL.items())
    return (
        "usage: python -m tests.benchmarks [--print] [NAME ...]\n\n"
        "Run the benchmarks that are named, or all (about half an hour).\n"
        "The results replace the sections of these benchmarks in tests/benchmarks/results.md;\n"
        "with --print they are only printed.\n\n"
        f"{names}"
    )


def main() -> None:
    """Run those that are named, or all."""
    options = {word for word in sys.argv[1:] if word.startswith("-")}
    wanted = [word for word in sys.argv[1:] if word not in options] or list(ALL)
    if options & {"-h", "--help"}:
        sys.stdout.write(usage())
        return
    if unknown := options - {"--print"}:
        raise SystemExit(f"There is no option {min(unknown)!r}.\n\n{usage()}")
    if unknown_names := [name for name in wanted if name not in ALL]:
        raise SystemExit(f"There is no benchmark {unknown_names[0]!r}. There are: {', '.join(ALL)}.")
    for name in wanted:
        reporting.begin(ALL[name], name)
        import_module(f"tests.benchmarks.{name}").main()
        reporting.say("")
        if not options:
            reporting.keep(list(ALL.values()))


if __name__ == "__main__":
    main()
