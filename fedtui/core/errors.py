"""Every error a person may see: what is wrong, why, and what to do next.

One tree, one renderer per surface (stderr, JSON, HTTP, console). `exit_code` is the
command line's contract; `http_status` and `public` are what a remote platform is told,
which leaves out what only our own operator may know.
"""

from __future__ import annotations

from collections.abc import Mapping


class Problem(Exception):
    """Something a person can act on.

    `code` is stable and machine readable; `problem`, `cause` and `fix` are sentences.
    """

    code = "problem"
    exit_code = 1
    http_status = 500
    public: str | None = None

    def __init__(
        self,
        problem: str,
        *,
        cause: str = "",
        fix: str = "",
        code: str | None = None,
        public: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.cause = cause
        self.fix = fix
        if code is not None:
            self.code = code
        if public is not None:
            self.public = public

    def as_dict(self) -> Mapping[str, str]:
        """The contract's error object: code, problem, cause, fix."""
        return {"code": self.code, "problem": self.problem, "cause": self.cause, "fix": self.fix}


class CheckFailed(Problem):
    """A check ran and found a problem."""

    code = "check_failed"
    exit_code = 1


class WrongUsage(Problem):
    """What was asked for is not well formed, or names something that is not there."""

    code = "wrong_usage"
    exit_code = 2
    http_status = 422


class NotFound(WrongUsage):
    """No such record."""

    code = "not_found"
    http_status = 404


class Refused(Problem):
    """Well formed, but permission, policy or state forbids it."""

    code = "refused"
    exit_code = 3
    http_status = 409


class Unusable(Refused):
    """The node itself cannot be used as it is: its home, database, vault or port."""

    code = "node_unusable"
    http_status = 503


class RemoteFailed(Problem):
    """The other platform, or the network between, did not do its part.

    `code` is one of the playbook's cause codes (`remote_dns`, `remote_refused`, ...).
    """

    code = "remote_failed"
    exit_code = 5
    http_status = 502


class Denied(Problem):
    """A remote caller is turned away: `public` goes out, `problem` stays with our operator.

    `decision_id` is what it was recorded under, where it was.
    """

    code = "denied"
    exit_code = 3

    def __init__(
        self, status: int, public: str, *, code: str, problem: str = "", public_code: str | None = None
    ) -> None:
        super().__init__(problem or public, code=code, public=public)
        self.http_status = status
        self.public_code = public_code or code
        self.decision_id: str | None = None
