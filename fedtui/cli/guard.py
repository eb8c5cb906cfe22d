"""What every run of the program ends in: an exit code, whatever happens (contract, CLI)."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

from fedtui.cli.output import show_problem
from fedtui.cli.streams import let_go
from fedtui.core.audit.redaction import redact_text
from fedtui.core.errors import Problem, Unusable

BUG = 70
INTERRUPTED = 130


def guarded(work: Callable[[], int]) -> int:
    """Run `work` and write out what it printed; its exit code, or that of the problem met, which is shown."""
    try:
        code = _told(work)
        return _told(lambda: _written(failed=code != 0)) or code
    except KeyboardInterrupt:  # once more, while the first was being told
        return INTERRUPTED


def _told(work: Callable[[], int]) -> int:
    try:
        return _ungrouped(work)
    except Problem as problem:
        show_problem(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read our output has left, which is theirs to do
    except (OSError, MemoryError) as error:
        lack = _of_the_machine(error)
        if lack is None:
            return _own_bug()
        show_problem(lack)
        return lack.exit_code
    except Exception:
        return _own_bug()


def _ungrouped(work: Callable[[], int]) -> int:
    """What failed in one of several tasks at once, as if it had alone."""
    try:
        return work()
    except ExceptionGroup as several:
        error: Exception = several
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from several


_OUT_OF_REACH = (
    "A file or directory that was named cannot be reached.",
    "See what it is, and whose (ls -ld), or name another.",
)
_MACHINE = {
    errno.ENOSPC: ("There is no room left on the disk.", "Make room (df -h shows where), then do the same again."),
    errno.EDQUOT: ("This account's share of the disk is used up.", "Make room (quota -s), then do the same again."),
    errno.EFBIG: ("A file may not become so large here.", "Raise the limit (ulimit -f), then do the same again."),
    errno.EROFS: (
        "The file system is read-only.",
        "Mount it for writing (findmnt -T FILE), or choose another place with FEDTUI_HOME=DIR.",
    ),
    errno.EACCES: _OUT_OF_REACH,
    errno.ENOTDIR: _OUT_OF_REACH,
    errno.ELOOP: _OUT_OF_REACH,
    errno.ENAMETOOLONG: _OUT_OF_REACH,
    errno.ENOMEM: (
        "There is not enough memory for this.",
        "See what holds it (free -m), or raise the limit (ulimit -v), then do the same again.",
    ),
    errno.EIO: ("The disk fails.", "See what the system says of it: dmesg"),
    errno.EMFILE: ("Too many files are open.", "Raise the limit (ulimit -n), then do the same again."),
    errno.ENFILE: ("Too many files are open on this machine.", "See what holds them: lsof"),
}
"""What is no bug of ours wherever it is met: problem and fix."""


def _of_the_machine(error: OSError | MemoryError) -> Problem | None:
    lacking = errno.ENOMEM if isinstance(error, MemoryError) else error.errno
    if lacking not in _MACHINE:
        return None
    problem, fix = _MACHINE[lacking]
    return Unusable(problem, cause=str(error) or "The system gave no more of it.", fix=fix, code="machine_unusable")


def _written(*, failed: bool) -> int:
    """Write what is still held back: it can fail as any other output can, and at exit nobody could tell it.

    Of a run that `failed` that was told already: perhaps it is what failed.
    """
    try:
        sys.stdout.flush()
    except OSError:
        let_go(sys.stdout)
        if not failed:
            raise
    return 0


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
