"""What every run of the program ends in: an exit code, whatever happens (contract, CLI)."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

from fedtui.cli.output import show_problem
from fedtui.core.errors import Problem, Unusable
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
    except OSError as error:
        lack = _of_the_machine(error)
        if lack is None:
            return _own_bug()
        show_problem(lack)
        return lack.exit_code
    except Exception:
        return _own_bug()


_MACHINE = {
    errno.ENOSPC: ("There is no room left on the disk.", "Make room (df -h shows where), then do the same again."),
    errno.EDQUOT: ("This account's share of the disk is used up.", "Make room (quota -s), then do the same again."),
    errno.EROFS: (
        "The file system is read-only.",
        "Mount it for writing (findmnt -T FILE), or choose another place with FEDTUI_HOME=DIR.",
    ),
    errno.EIO: ("The disk fails.", "See what the system says of it: dmesg"),
    errno.EMFILE: ("Too many files are open.", "Raise the limit (ulimit -n), then do the same again."),
    errno.ENFILE: ("Too many files are open on this machine.", "See what holds them: lsof"),
}
"""What is no bug of ours wherever it is met: problem and fix."""


def _of_the_machine(error: OSError) -> Problem | None:
    if error.errno not in _MACHINE:
        return None
    problem, fix = _MACHINE[error.errno]
    return Unusable(problem, cause=str(error), fix=fix, code="machine_unusable")


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
