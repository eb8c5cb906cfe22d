"""`fedtui doctor`: all of the playbook, or one symptom, without a person."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtui.cli.common import opened, piped, secret
from fedtui.cli.guided import guided as go_through
from fedtui.cli.output import MODE, narrate, show
from fedtui.core.errors import WrongUsage

if TYPE_CHECKING:
    from fedtui.core.diagnosis.check_runner import CheckResult
    from fedtui.core.diagnosis.triage import DiagnosisTarget

FOUND = 1
SEVERITIES = ("low", "medium", "high", "critical")
MARKS = {"ok": "ok      ", "bad": "FAILED  ", "unknown": "unknown ", "skipped": "-       "}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)


def doctor(
    symptom: Annotated[
        str | None, typer.Argument(help="One symptom, like stuck_accepted; without: everything.")
    ] = None,
    peer: Annotated[str | None, typer.Option(help="Only this peer.")] = None,
    token: Annotated[str | None, typer.Option(help="What became of a token; - reads it from standard input.")] = None,
    decision: Annotated[str | None, typer.Option(help="Why this call was turned away.")] = None,
    grant: Annotated[str | None, typer.Option(help="Why calls with this grant are turned away.")] = None,
    approval: Annotated[str | None, typer.Option(help="Why this request is stuck.")] = None,
    text: Annotated[
        str | None, typer.Option(help="What does this mean? An error, log line or HTTP answer; - reads standard input.")
    ] = None,
    guided: Annotated[
        bool, typer.Option("--guided", help="Step by step, as plain text, with fixes carried out.")
    ] = False,
    incident: Annotated[str | None, typer.Option(help="With --guided: go on with this incident.")] = None,
    fail_on: Annotated[str, typer.Option(help="Exit 1 from this severity on: low, medium, high, critical.")] = "low",
    quiet: Annotated[bool, typer.Option("--quiet", help="For cron: print nothing at all unless it exits 1.")] = False,
) -> None:
    """Run the playbook's checks, name the causes, and say what helps. Exit 1 if something is wrong."""
    from fedtui.core.administration import operators
    from fedtui.core.diagnosis import engine
    from fedtui.core.diagnosis.triage import DiagnosisTarget

    if fail_on not in SEVERITIES:
        raise WrongUsage(
            f"--fail-on cannot be {fail_on[:40]!r}.",
            cause=f"It is one of: {', '.join(SEVERITIES)}.",
            fix="Leave it out to hear of everything.",
        )
    wanted = DiagnosisTarget(symptom, peer, decision, approval, secret(token), grant)
    if text is not None:
        wanted = _meant(piped(text), wanted)
    if guided or incident is not None:
        _require_text()
        raise typer.Exit(go_through(wanted, wanted.token, incident))
    with opened() as node:
        with node.read() as session:
            operators.require(session, node.operator)
        found = engine.diagnose(node, node.acts, wanted, (lambda _seen: None) if MODE.json or quiet else _tell)
    shape = engine.shape(found, fail_on=fail_on)
    if not (quiet and shape["ok"]):
        show(shape, lambda: _in_words(shape))
    if not shape["ok"]:
        raise typer.Exit(FOUND)


def _require_text() -> None:
    if MODE.json:
        raise WrongUsage(
            "The guided form is text, for people.",
            cause="It asks and waits for answers; --json is for programs.",
            fix="Leave out one of --guided and --json.",
            code="guided_is_text",
        )


def _meant(text: str, otherwise: DiagnosisTarget) -> DiagnosisTarget:
    """What a text is about, said, and looked at."""
    from fedtui.core.diagnosis import error_lookup

    with opened() as node, node.read() as session:
        found = error_lookup.look_up(session, text)
    if found is None:
        raise WrongUsage(
            "That text is not one that the playbook knows.",
            cause="It knows the answers of the federation API, the lines of the log, and ids and URLs of this node.",
            fix="Leave it out: fedtui doctor looks at everything.",
            code="text_not_recognised",
        )
    narrate(f"{found.means} ({found.said})" + (f" It is about {', '.join(found.about)}." if found.about else ""))
    return replace(found.wanted, symptom=otherwise.symptom or found.wanted.symptom)


def _tell(seen: CheckResult) -> None:
    """A check as it ends."""
    whose = "" if seen.subject.scope == "node" else f"  [{seen.subject.label}]"
    narrate(f"{MARKS[seen.outcome.state]}{seen.check.title}: {seen.outcome.said}{whose}")


def _in_words(shape: dict[str, Any]) -> str:
    lines = [line for one in shape["findings"] for line in _finding(one)]
    if shape["failed_beside"]:
        lines += ["", "No cause was found, and these checks failed:"]
        lines += [f"  {one['subject']}: {one['said']}" for one in shape["failed_beside"]]
        lines += ["  Causes of other symptoms explain it:"] if shape["elsewhere"] else []
        lines += [line for one in shape["elsewhere"] for line in _finding(one)]
        lines += ["", "To look at everything: fedtui doctor"]
    lines += [line for one in shape["notes"] for line in ("", f"as it should be: {one['subject']}", f"  {one['said']}")]
    if not shape["checks"]:
        return "Nothing on record shows it, so nothing was looked at. Name what it is about: --peer, --grant, ..."
    count = len(shape["findings"])
    if shape["not_looked_at"]:
        lines += ["", f"{shape['not_looked_at']} more peers are not as they should be; the most urgent were looked at."]
    end = f"{count} found" if count else "No cause found" if shape["failed_beside"] else "No alerts"
    beside = "" if count else " Governance is not checked here: fedtui governance scan"
    return "\n".join([*lines, "", f"{end}, in {shape['duration_ms']} ms.{beside}"]).strip()


def _finding(one: dict[str, Any]) -> list[str]:
    lines = ["", f"{one['severity'].upper()}  {one['cause']}  ({one['subject']})", f"  {one['explanation']}"]
    for number, fix in enumerate([one["fix"], *one["other_fixes"]] if one["fix"] else []):
        where = " (at the peer)" if fix["where"] == "there" else ""
        waits = " (needs approval)" if fix["needs_approval"] else ""
        word = "fix" if number == 0 else "then" if one["fixes_together"] else "or"
        lines.append(f"  {word:<4}: {fix['title']}{where}{waits}")
        lines += [f"        {fix['command']}"] if fix["command"] else []
    if one["undecided"]:
        lines.append(f"  not decidable from this node; other codes it could be: {', '.join(one['undecided'])}")
    return [
        *lines,
        f"  Other possible causes: {one['could_be']}",
        f"  see {one['hint_url']}: fedtui help {one['cause']}",
    ]
