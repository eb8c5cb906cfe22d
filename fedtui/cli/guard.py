"""What every run of the program ends in: an exit code, whatever happens (contract, CLI)."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from fedtui.cli.output import show_problem
from fedtui.core.errors import Problem
from fedtui.core.record.redaction import redact_text

BUG = 70
INTERRUPTED = 130


def guarded(work: Callable[[], int]) -> int:
    """Run `work`; its exit code, or that of the problem it raised, which is shown."""
    try:
        return work()
    except Problem as problem:
        show_problem(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        nobody_reads()
        return 0
    except Exception:
        return _own_bug()


def nobody_reads() -> None:
    """Whoever read our output has left, which is theirs to do: keep the interpreter from complaining about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _own_bug() -> int:
    problem = Problem(
        "fedtui has a bug: this should not have happened.",
        cause=redact_text(traceback.format_exc(limit=0).strip().splitlines()[-1]),
        fix="Run the same again with FEDTUI_DEBUG=1 and report what it prints.",
        code="internal",
    )
    show_problem(problem)
    if os.environ.get("FEDTUI_DEBUG"):
        print(redact_text(traceback.format_exc()), file=sys.stderr)
    return BUG
