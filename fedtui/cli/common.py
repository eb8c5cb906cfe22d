"""What commands share: opening the node, asking for acts, secrets from standard input."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fedtui.cli.console import load_settings
from fedtui.cli.output import MODE, fields, narrate, show, show_problem, text
from fedtui.core.errors import Problem, Refused, Unusable, WrongUsage

if TYPE_CHECKING:
    from fedtui.core.node import Node
    from fedtui.core.operations.approvals import Approval

    Session = Any
    """A database session, which the command line only passes on."""

Found = TypeVar("Found")
Function = TypeVar("Function", bound=Callable[..., Any])
PENDING = 4
DONE = "done"
"""What an act says that yields nothing to show."""
MOST = 1_000_000
"""The largest --limit."""
SECRET_LIMIT = 64 * 1024
PIPE_LIMIT = 8 * 1024 * 1024
POLL_SECONDS = 0.3
UNDER_WAY = ("pending", "approved", "executing")


class Group(typer.Typer):
    """A Typer whose commands all take the common options."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        add = super().command(name, **options)

        def register(function: Function) -> Function:
            add(_with_common_options(function))
            return function

        return register

    def alone(self) -> Callable[[Function], Function]:
        """What the group's own name does without one of its commands; takes the common options, too."""
        add = super().callback(invoke_without_command=True)

        def register(function: Function) -> Function:
            add(_with_common_options(function))
            return function

        return register


def group(help_: str) -> Group:
    """A group of commands."""
    return Group(help=help_, no_args_is_help=False, add_completion=True, pretty_exceptions_enable=False)


def _common(name: str, kind: Any, default: Any, **option: Any) -> inspect.Parameter:
    annotation = Annotated[kind, typer.Option(f"--{name}", **option)]
    return inspect.Parameter(f"common_{name}", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


COMMON = (
    _common("json", bool, False, help="Print data as JSON."),
    _common(
        "operator",
        str | None,
        None,
        help="Act as this operator (recorded as claimed). Default: FEDTUI_OPERATOR, else the OS user.",
    ),
)
"""The options that every command takes."""


def _with_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same command, its signature ending in `COMMON`, which go into `MODE`."""

    @functools.wraps(function)
    def run(*args: Any, common_json: bool = False, common_operator: str | None = None, **options: Any) -> Any:
        MODE.json = MODE.json or common_json
        MODE.operator = common_operator or MODE.operator
        return function(*args, **options)

    signature = inspect.signature(function, eval_str=True)
    parameters = [*signature.parameters.values(), *COMMON]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


@contextmanager
def opened(**options: Any) -> Iterator[Node]:
    """The node of this home, closed again at the end."""
    from fedtui.core.bootstrap import open_node

    node = open_node(load_settings(**options))
    try:
        yield node
    finally:
        node.close()


@contextmanager
def viewing() -> Iterator[tuple[Node, Session]]:
    """The node and a read-only session, for an operator on record (any permission includes seeing)."""
    from fedtui.core.administration import operators

    with opened() as node, node.read() as session:
        operators.require(session, node.operator)
        yield node, session


def answered(look: Callable[[], Found], pause: Callable[[], object]) -> Found:
    """What `look` gives as soon as the node's database answers, which it did before: that it does not now is said
    once, and `pause` taken between two looks."""
    waits = False
    while True:
        try:
            found = look()
        except Unusable as problem:
            if problem.code != "database_unavailable":
                raise
            if not waits:
                narrate(f"{problem.problem} {problem.cause}")
                narrate("Waiting until it does (Ctrl-C stops waiting).")
            waits = True
            pause()
            continue
        if waits:
            narrate("It answers again.")
        return found


def ask(action: str, params: Mapping[str, Any], *, reason: str | None = None, wait: bool = False) -> None:
    """Ask the gate for an act and print what became of it: done (0), or pending approval (4)."""
    from fedtui.core.operations.gate import Done

    with opened() as node:
        outcome = node.request(node.actor("cli"), action, params, reason=reason)
        if isinstance(outcome, Done):
            show(outcome.result, lambda: fields(outcome.result) or DONE)
            return
        if wait:
            _show_outcome(node, _await(node, outcome.approval.id))
            return
        _show_pending(node, outcome.approval.id)


def secret(value: str | None) -> str | None:
    """A secret given as an option; `-` reads it from standard input, out of the process list's sight."""
    return None if value is None else piped(value, limit=SECRET_LIMIT)


def piped(value: str, *, limit: int = PIPE_LIMIT) -> str:
    """An option's value; `-` reads it from standard input."""
    if value != "-":
        return value
    # All of it: an invite that a mail client broke into lines is still one.
    try:
        given = sys.stdin.read(limit).strip()
    except (UnicodeDecodeError, OSError) as error:
        raise WrongUsage(
            "What is on standard input cannot be read.",
            cause=str(error),
            fix="Pipe text in, in this terminal's encoding (UTF-8 in most).",
            code="stdin_unreadable",
        ) from error
    if not given:
        raise WrongUsage(
            "Nothing came on standard input.",
            cause="The option's value was -, which reads it from there.",
            fix="Pipe it in, for example: fedtui doctor --text - < the-error.txt",
            code="stdin_empty",
        )
    return given


def _show_pending(node: Node, approval_id: str) -> None:
    from fedtui.core.operations import approvals
    from fedtui.core.views import serializers

    with node.read() as session:
        row = approvals.find(session, approval_id)
        full = serializers.approval_in_full(session, row, node, node.acts)
    narrate(f"This needs approval. {full['summary']}")
    narrate(f"  waits for:  a decision until {text(full['expires_at'])}, when the clock rejects it")
    narrate(f"  then:       {full['waiting']['then']}")
    narrate(f"  can decide: {', '.join(full['waiting']['can_decide']) or 'nobody yet (fedtui operators add)'}")
    narrate(f"  approve:    fedtui approvals approve {row.id} --digest {row.digest[:12]}")
    show({"pending": True, "approval": full}, f"pending {row.id}")
    raise typer.Exit(PENDING)


def _await(node: Node, approval_id: str) -> Approval:
    from fedtui.core.operations import approval_status, approvals

    def look() -> Approval:
        with node.read() as session:
            return approvals.find(session, approval_id)

    narrate("Waiting for the decision and the manager (Ctrl-C stops waiting, not the request).")
    while True:
        row = answered(look, _pause)
        if approval_status.effective_status(row.status, row.expires_at, node.clock.now()) not in UNDER_WAY:
            return row
        _pause()


def _pause() -> None:
    time.sleep(POLL_SECONDS)


def _show_outcome(node: Node, row: Approval) -> None:
    from fedtui.core.views import serializers

    with node.read() as session:
        shape = serializers.approval_in_full(session, row, node, node.acts)
    if row.status == "executed":
        show(shape, lambda: fields(row.result or {}) or DONE)
        return
    if row.status == "failed":
        error = row.error or {}
        code = str(error.get("code", ""))
        problem: Problem = Refused(
            str(error.get("problem", "It failed.")), cause=str(error.get("cause", "")), fix=str(error.get("fix", ""))
        )
        problem.code = code
        show_problem(problem)
        raise typer.Exit(5 if code.startswith("remote_") else 3)
    status = shape["status"]
    changed = (row.error or {}).get("cause")
    raise Refused(
        f"The request is {status}.",
        cause=changed or row.decision_reason or f"Decided by {row.decided_by or 'the clock'}.",
        fix="Ask again when that has been settled.",
        code=f"approval_{status}",
    )
