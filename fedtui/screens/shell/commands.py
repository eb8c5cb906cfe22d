"""Every command of the console, in one table: keys, help, permission, danger, and where it works.

Bindings, the line of keys, the `:` prompt and the help are all made from it, so that none
of them can say something else. A key is defined here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Danger = Literal["none", "changes", "dangerous"]
Target = Literal["", "row", "marks"]

ALWAYS, EVERYWHERE, TABLE, DETAIL, PEERS, PEER = "always", "everywhere", "table", "detail", "peers", "peer"
GRANTS, GRANT, APPROVALS, APPROVAL = "grants", "grant", "approvals", "approval"
CERTS, CERT = "certs", "cert"
PLAYBOOK, WIZARD, PICK = "playbook", "wizard", "pick"
HOME, EVENTS, EVENT, FINDINGS, FINDING = "home", "events", "event", "findings", "finding"
"""Places: in the whole program, on every screen, in every table, in every detail, then screens by name."""
ASK, TOLD, SECRET, WAITING, PROMPT, CHOICE, PRESS = "ask", "told", "secret", "waiting", "prompt", "choice", "press"
CHECKS, PROBING, TEXT = "checks", "probing", "text"
"""Places in dialogs: the kinds of dialog, and what stands in one."""
DIALOGS = frozenset((ALWAYS, ASK, TOLD, SECRET, WAITING, PROMPT, CHOICE, PRESS, CHECKS, PROBING, TEXT))
"""Where keys are the same for everybody: console.toml cannot change them."""
TOGETHER: tuple[tuple[str, ...], ...] = (
    (HOME, EVERYWHERE),
    *((place, TABLE, EVERYWHERE) for place in (PEERS, GRANTS, APPROVALS, CERTS, EVENTS, FINDINGS)),
    *((place, DETAIL, EVERYWHERE) for place in (PEER, GRANT, APPROVAL, CERT, EVENT, FINDING, WIZARD)),
    (PLAYBOOK, PICK, EVERYWHERE),
    (EVERYWHERE, DETAIL),
)
"""The places of each screen: in one of these, a key has one meaning."""
MANAGE_PEERS, MANAGE_GRANTS = "system.federation_peers.manage", "system.federation_grants.manage"
CONTROL, MANAGE_OPERATORS = "system.infra_tasks.control", "system.operators.manage"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing the console can do.

    `keys` are Textual's names, separated by commas, or empty where only `:` reaches it.
    `danger`: `changes` is asked about, `dangerous` also locks when the data are stale.
    `takes` names what may be typed behind it; its key asks for that.
    `target`: whether it acts on the row under the cursor, or on the marked rows where there
    are any. `footer` puts it into the line of keys. `action` is Textual's; by default the
    screen's `do_NAME`. `place` is where it leads.
    """

    name: str
    keys: str
    help: str
    where: tuple[str, ...]
    permission: str = ""
    danger: Danger = "none"
    target: Target = ""
    footer: str = ""
    action: str = ""
    place: str = ""
    takes: str = ""


# The formatter would give a row eight lines.
COMMANDS: tuple[Command, ...] = (
    Command("open", "enter", "Open what is under the cursor", (TABLE,), target="row", footer="open", action="open"),
    Command("lead", "enter", "Go to what the line is about", (HOME,), footer="go there", action="open"),
    Command("begin", "enter", "Begin with what is picked", (PICK,), footer="begin", action="open"),
    Command("pick-next", "j,down", "Pick the next line", (PICK, HOME), action="move(1)"),
    Command("pick-before", "k,up", "Pick the line before", (PICK, HOME), action="move(-1)"),
    Command("pick-first", "g,home", "Pick the first line", (PICK, HOME), action="move(-1000)"),
    Command("pick-last", "G,end", "Pick the last line", (PICK, HOME), action="move(1000)"),
    Command("examine", "d", "Doctor: find out what is wrong with it, or with everything", (HOME,), footer="doctor"),
    Command("go-on", "enter", "The next act of the wizard", (WIZARD,), footer="go on", action="go_on"),
    Command("next-fix", "tab", "Mark the next fix", (WIZARD,), footer="next fix", action="pick(1)"),
    Command("fix-before", "shift+tab", "Mark the fix before", (WIZARD,), action="pick(-1)"),
    Command("note", "N", "Write a note into the incident", (WIZARD,), "system.federation_peers.view", "changes",
            footer="note"),
    Command("escalate", "U", "Hand it up: a change request to the federation's owner", (WIZARD,),
            "system.federation_peers.view", "changes", footer="hand up"),
    Command("background", "B", "Background: events and findings around it", (WIZARD,), footer="background"),
    Command("runbook", "m", "Manual: open the page of the marked fix's cause", (WIZARD,), footer="manual"),
    Command("end-incident", "", "End the incident: explained, escalated, abandoned", (WIZARD,),
            "system.federation_peers.view", "changes"),
    Command("export-incident", "x", "Show the transcript, to copy", (WIZARD,), footer="export"),
    Command("doctor", "d", "Doctor: find out what is wrong with it",
            (PEERS, PEER, GRANTS, GRANT, APPROVALS, APPROVAL, CERTS, CERT, EVENTS, EVENT), target="row",
            footer="doctor"),
    Command("pause", "z", "Pause: let nothing new in, and count it; again, and it goes on", (EVENTS,), footer="pause"),
    Command("go-to", "o", "Go to what it is about: peer, grant, request, certificate, incident, finding",
            (EVENTS, EVENT), target="row", footer="go to"),
    Command("same-act", "C", "Show all that the same act caused (its correlation)", (EVENTS, EVENT), target="row",
            footer="same act"),
    Command("same-peer", "b", "Show all about the same peer", (EVENTS,), target="row", footer="same peer"),
    Command("severity", "v", "Show only what is so grave or graver: all, medium, high, critical", (EVENTS,),
            footer="severity"),
    Command("settle", "o", "Go to where it is settled: the peer, the grant, the certificate, the wizard",
            (FINDINGS, FINDING), target="row", footer="settle"),
    Command("acknowledge", "a", "Acknowledge, with a reason and for how long", (FINDINGS, FINDING),
            "system.federation_peers.view", "changes", "marks", footer="acknowledge"),
    Command("scan", "n", "Scan now", (FINDINGS,), "system.federation_peers.view", footer="scan now"),
    Command("report", "x", "Show the report, to copy", (FINDINGS,), footer="report"),
    Command("state", "v", "Look at the next part: open, acknowledged, gone, all", (FINDINGS,), footer="view"),
    Command("propose", "p", "Propose to peer with a platform", (PEERS,), MANAGE_PEERS, "changes", footer="propose"),
    Command("accept", "a", "Accept another platform's invite", (PEERS,), MANAGE_PEERS, "changes", footer="accept"),
    Command("token", "t", "Make a token and invite for a proposed peer, shown once", (PEERS, PEER), MANAGE_PEERS,
            "changes", "row", footer="token"),
    Command("cancel-token", "T", "Cancel the peer's token", (PEERS, PEER), MANAGE_PEERS, "changes", "row"),
    Command("heartbeat", "h", "Send a heartbeat to the peer now", (PEERS, PEER), MANAGE_PEERS, target="row",
            footer="heartbeat"),
    Command("confirm-endpoint", "e", "Confirm an endpoint that the peer declares, so that it is dialled",
            (PEERS, PEER), MANAGE_PEERS, "changes", "row"),
    Command("suspend", "S", "Suspend: turn the peer's calls away until it is resumed", (PEERS, PEER), MANAGE_PEERS,
            "dangerous", "marks", footer="suspend"),
    Command("resume", "R", "Resume a suspended peer", (PEERS, PEER), MANAGE_PEERS, "changes", "marks"),
    Command("revoke", "X", "Revoke for good: certificates and tokens end at once", (PEERS, PEER), MANAGE_PEERS,
            "dangerous", "row", footer="revoke"),
    Command("issue", "i", "Issue a grant", (GRANTS,), MANAGE_GRANTS, "changes", footer="issue"),
    Command("edit", "E", "Edit the grant's allowlists; shows what that would cut off", (GRANTS, GRANT), MANAGE_GRANTS,
            "changes", "row", footer="edit"),
    Command("renew", "n", "Renew: let the grant run anew from now", (GRANTS, GRANT), MANAGE_GRANTS, "changes",
            "marks", footer="renew"),
    Command("revoke-grant", "X", "Revoke the grant for good; shows what that would cut off", (GRANTS, GRANT),
            MANAGE_GRANTS, "dangerous", "marks", footer="revoke"),
    Command("why", "w", "Why: put a call through every check, or replay the last refusal", (GRANTS, GRANT),
            target="row", footer="why"),
    Command("probe", "P", "Probe: look at the peer's TLS step by step, and say what is wrong",
            (CERTS, CERT, PEERS, PEER), target="row", footer="probe"),
    Command("renew-cert", "n", "Renew now: ask the peer for the next certificate", (CERTS, CERT), MANAGE_PEERS,
            "changes", "marks", footer="renew"),
    Command("mint", "M", "Mint again: sign the peer another certificate, and deliver it", (CERTS, CERT), MANAGE_PEERS,
            "changes", "row", footer="mint"),
    Command("revoke-cert", "X", "Revoke a certificate that this node signed, for good", (CERTS, CERT), MANAGE_PEERS,
            "dangerous", "row", footer="revoke"),
    Command("export", "x", "Show the public parts, to copy", (CERTS, CERT), target="row", footer="export"),
    Command("approve", "A", "Approve exactly what is shown", (APPROVALS, APPROVAL), CONTROL, "dangerous", "marks",
            footer="approve"),
    Command("reject", "D", "Reject (deny), with a reason", (APPROVALS, APPROVAL), CONTROL, "dangerous", "marks",
            footer="reject"),
    Command("withdraw", "W", "Withdraw your own request", (APPROVALS, APPROVAL), "system.federation_peers.view",
            "changes", "marks", footer="withdraw"),
    Command("again", "n", "Ask anew for what was rejected, withdrawn, went stale or timed out", (APPROVALS, APPROVAL),
            "system.federation_peers.view", "changes", "row"),
    Command("retry", "", "Let the manager try a failed request again", (APPROVALS, APPROVAL), CONTROL, "changes",
            "row"),
    Command("part", "v", "Look at the next part: for me, mine, open, history", (APPROVALS,), footer="view"),
    Command("next-one", "right_square_bracket", "The next request", (APPROVAL,), footer="next"),
    Command("one-before", "left_square_bracket", "The request before", (APPROVAL,), footer="previous"),
    Command("filter", "slash", "Show only rows with a text; !text: only those without", (TABLE,), footer="filter"),
    Command("sort", "s", "Take the next order", (PEERS, GRANTS, CERTS, EVENTS, FINDINGS), footer="sort"),
    Command("mark", "space", "Mark or unmark; acts then apply to the marks", (TABLE,), target="row", footer="mark",
            action="mark"),
    Command("unmark", "u", "Take away every mark", (TABLE,), action="unmark"),
    Command("view", "V", "Look through a saved view; without a name, as it comes", (TABLE,), takes="NAME"),
    Command("save", "", "Save filter, order, part and columns as a view", (TABLE,), takes="NAME"),
    Command("forget", "", "Forget a saved view", (TABLE,), takes="NAME"),
    Command("columns", "", "Show only these columns; without any, all that fit", (TABLE,), takes="COLUMN ..."),
    Command("down", "j,down", "Next line", (TABLE,), action="move(1)"),
    Command("up", "k,up", "Previous line", (TABLE,), action="move(-1)"),
    Command("page-down", "pagedown", "Next page", (TABLE,), action="page(1)"),
    Command("page-up", "pageup", "Previous page", (TABLE,), action="page(-1)"),
    Command("first", "g,home", "First line", (TABLE,), action="first"),
    Command("last", "G,end", "Last line", (TABLE,), action="last"),
    Command("scroll-down", "j,down", "Scroll down", (DETAIL,), action="scroll(1)"),
    Command("scroll-up", "k,up", "Scroll up", (DETAIL,), action="scroll(-1)"),
    Command("scroll-page-down", "pagedown", "Scroll down a page", (DETAIL,), action="scroll_page(1)"),
    Command("scroll-page-up", "pageup", "Scroll up a page", (DETAIL,), action="scroll_page(-1)"),
    Command("scroll-first", "g,home", "Scroll to the beginning", (DETAIL,), action="scroll(-100000)"),
    Command("scroll-last", "G,end", "Scroll to the end", (DETAIL,), action="scroll(100000)"),
    Command("back", "escape", "Back; in a table, take the filter away", (EVERYWHERE,), footer="back"),
    Command("previous", "minus", "The view before this one", (EVERYWHERE,)),
    Command("command", "colon", "Type a command; Tab completes", (EVERYWHERE,), footer="command"),
    Command("help", "question_mark", "Every key and command of this screen", (EVERYWHERE,), footer="help"),
    Command("quit", "q", "Quit", (EVERYWHERE,), footer="quit"),
    Command("home", "0", "Is anything wrong, and what needs me?", (EVERYWHERE,), place="home"),
    Command("peers", "1", "The peers; with an id, that peer", (EVERYWHERE,), place="peers"),
    Command("grants", "2", "The grants; with an id, that grant", (EVERYWHERE,), place="grants"),
    Command("approvals", "3", "The approval queue; with an id, that request", (EVERYWHERE,), place="approvals"),
    Command("certs", "4", "mTLS: every certificate; with an id or serial, that one", (EVERYWHERE,), place="certs"),
    Command("playbook", "5", "The playbook; with a symptom or an incident's id, its wizard", (EVERYWHERE,),
            place="playbook"),
    Command("events", "6", "What happened, as it happens; with an id, that event", (EVERYWHERE,), place="events"),
    Command("governance", "7", "What governance found; with an id, that finding", (EVERYWHERE,), place="governance"),
    Command("manual", "", "Read the manual: a topic, a symptom or a cause", (EVERYWHERE,), takes="TOPIC"),
    Command("theme", "", "Take another theme, also a high-contrast one", (EVERYWHERE,), takes="NAME"),
    Command("remember", "", "Begin with the last saved view of each table, or not", (EVERYWHERE,), takes="on|off"),
    Command("pause-manager", "", "Pause the SDWAN Manager, where its reconciling makes things worse", (EVERYWHERE,),
            CONTROL, "dangerous"),
    Command("resume-manager", "", "Let the SDWAN Manager work again", (EVERYWHERE,), CONTROL, "changes"),
    Command("lower-policy", "", "EMERGENCY: let an action run without approval, for a while", (EVERYWHERE,), CONTROL,
            "dangerous"),
    Command("restore-policy", "", "Put a lowered policy back before its time", (EVERYWHERE,), CONTROL, "changes"),
    Command("confirm-lowered", "", "Confirm what ran under a lowered policy", (EVERYWHERE,), CONTROL, "changes"),
    Command("operators", "", "The operators, and how an SSH key of theirs is let in", (EVERYWHERE,)),
    Command("add-operator", "", "Add an operator", (EVERYWHERE,), MANAGE_OPERATORS, "changes"),
    Command("remove-operator", "", "Remove an operator", (EVERYWHERE,), MANAGE_OPERATORS, "dangerous"),
    Command("bridges", "", "The network bridges, by peer", (EVERYWHERE,)),
    Command("propose-bridge", "", "Propose a network bridge for a peer", (EVERYWHERE,), MANAGE_GRANTS, "changes"),
    Command("activate-bridge", "", "Activate a network bridge", (EVERYWHERE,), MANAGE_GRANTS, "changes"),
    Command("suspend-bridge", "", "Suspend a network bridge", (EVERYWHERE,), MANAGE_GRANTS, "dangerous"),
    Command("revoke-bridge", "", "Revoke a network bridge for good", (EVERYWHERE,), MANAGE_GRANTS, "dangerous"),
    Command("inventory", "", "The resource kinds that this node serves", (EVERYWHERE,)),
    Command("serve-kind", "", "Serve a resource kind", (EVERYWHERE,), MANAGE_GRANTS, "changes"),
    Command("stop-kind", "", "Serve a resource kind no longer", (EVERYWHERE,), MANAGE_GRANTS, "dangerous"),
    Command("resources", "", "The documents of this node", (EVERYWHERE,)),
    Command("put-resource", "", "Write a document", (EVERYWHERE,), MANAGE_GRANTS, "changes"),
    Command("delete-resource", "", "Delete a document", (EVERYWHERE,), MANAGE_GRANTS, "dangerous"),
    Command("store-cert", "", "Store a certificate that a peer signed", (EVERYWHERE,), MANAGE_PEERS, "changes"),
    Command("trust-ca", "", "Trust another CA of a peer", (EVERYWHERE,), MANAGE_PEERS, "dangerous"),
    Command("edit-peer", "", "Edit a peer: URL, prefix, maintenance, term", (EVERYWHERE,), MANAGE_PEERS, "changes"),
    Command("settings", "", "The settings that are kept in the node's database", (EVERYWHERE,)),
    Command("set", "", "Change a setting of the node", (EVERYWHERE,), MANAGE_OPERATORS, "dangerous"),
    Command("policies", "", "The policy of each operation", (EVERYWHERE,)),
    Command("set-policy", "", "Set the policy of an operation", (EVERYWHERE,), MANAGE_OPERATORS, "dangerous"),
    Command("end-quarantine", "", "End the quarantine after a restore", (EVERYWHERE,), MANAGE_OPERATORS, "dangerous"),
    Command("doctor-all", "", "Doctor: find out what is wrong, with everything", (EVERYWHERE,)),
    Command("refresh", "r", "Read again now; open the node again", (EVERYWHERE,)),
    Command("leave", "ctrl+q,ctrl+c", "Quit, also from a dialog", (ALWAYS,), action="quit"),

    Command("next", "tab,down", "Next field or button", (ASK,), footer="next", action="app.focus_next"),
    Command("before", "shift+tab,up", "Field or button before", (ASK,), action="app.focus_previous"),
    Command("text-down", "pagedown", "Scroll the text", (ASK, TOLD, CHECKS, PROBING, TEXT), action="scroll(1)"),
    Command("text-up", "pageup", "Scroll the text back", (ASK, TOLD, CHECKS, PROBING, TEXT), action="scroll(-1)"),
    Command("cancel", "escape", "Cancel", (ASK,), footer="cancel", action="close"),
    Command("confirm", "y", "Confirm, where nothing is being typed", (ASK,), footer="yes", action="confirm"),
    Command("turn", "right,space", "Next choice", (CHOICE,), action="turn(1)"),
    Command("turn-back", "left", "Previous choice", (CHOICE,), action="turn(-1)"),
    Command("choose", "enter", "Go on with this choice", (CHOICE,), action="take"),
    Command("press", "enter,space", "Press", (PRESS,), action="press"),
    Command("right", "right", "Next button", (PRESS,), action="app.focus_next"),
    Command("left", "left", "Button before", (PRESS,), action="app.focus_previous"),
    Command("fix", "f", "Do what helps", (TOLD,), footer="fix", action="fix"),
    Command("do-fix", "f", "Do what helps", (CHECKS,), footer="do what helps", action="fix"),
    Command("close-checks", "escape,enter,q", "Close", (CHECKS,), footer="close", action="close"),
    Command("close-probe", "escape,enter,q", "Close", (PROBING,), footer="close", action="close"),
    Command("copy-text", "c", "Copy to the terminal's clipboard", (TEXT,), footer="copy", action="copy"),
    Command("close-text", "escape,enter,q", "Close", (TEXT,), footer="close", action="close"),
    Command("close", "escape,enter,q", "Close", (TOLD,), footer="close", action="close"),
    Command("copy", "c", "Copy to the terminal's clipboard", (SECRET,), footer="copy", action="copy"),
    Command("done", "escape", "Close; it is not shown again", (SECRET,), footer="close", action="close"),
    Command("stop-waiting", "escape", "Stop waiting; what was asked for goes on", (WAITING,), footer="stop waiting",
            action="close"),
    Command("complete", "tab", "Complete what was typed", (PROMPT,), action="complete"),
    Command("choose-next", "down", "The next of what fits, or of what was typed before", (PROMPT,), action="choose(1)"),
    Command("choose-before", "up", "The one before", (PROMPT,), action="choose(-1)"),
    Command("leave-it", "escape", "Leave the prompt", (PROMPT,), action="close"),
)  # fmt: skip
"""In the order of the lines of keys: where one is too short, the last of it give way."""

BY_NAME = {command.name: command for command in COMMANDS}

REBOUND: dict[str, str] = {}
"""Keys that console.toml gives to commands, by name. One console, so one value for all screens."""

KEYS = {
    "right_square_bracket": "]", "left_square_bracket": "[",
    "question_mark": "?", "colon": ":", "slash": "/", "minus": "-", "enter": "Enter", "escape": "Esc",
    "space": "Space", "tab": "Tab", "shift+tab": "Shift+Tab", "left": "Left", "right": "Right",
    "pagedown": "PgDn", "pageup": "PgUp", "down": "Down", "up": "Up", "home": "Home", "end": "End",
    "ctrl+q": "Ctrl+Q", "ctrl+c": "Ctrl+C", "delete": "Del", "insert": "Ins",
}  # fmt: skip
"""Keys whose names in Textual are not what people call them."""


SIGNS: Mapping[str, str] = {
    "!": "exclamation_mark", '"': "quotation_mark", "#": "number_sign", "$": "dollar_sign", "%": "percent_sign",
    "&": "ampersand", "'": "apostrophe", "(": "left_parenthesis", ")": "right_parenthesis", "*": "asterisk",
    "+": "plus", ",": "comma", ".": "full_stop", ";": "semicolon", "<": "less_than_sign", "=": "equals_sign",
    ">": "greater_than_sign", "@": "at", "\\": "backslash", "^": "circumflex_accent", "_": "underscore",
    "`": "grave_accent", "{": "left_curly_bracket", "|": "vertical_line", "}": "right_curly_bracket", "~": "tilde",
}  # fmt: skip
"""Signs that console.toml may put commands on, and what Textual calls them."""

_NAMED = re.compile(r"\{([a-z-]+)\}")


def at(*places: str) -> list[Command]:
    """The commands that work at these places, in the table's order."""
    return [command for command in COMMANDS if any(place in places for place in command.where)]


def bindings(*places: str) -> list[BindingType]:
    """Textual's bindings for these places."""
    return [
        Binding(
            command.keys,
            command.action or f"run({command.name!r})",
            command.help,
            show=bool(command.footer),
            priority=ALWAYS in command.where,
            id=command.name,
        )
        for command in at(*places)
        if command.keys
    ]


def key_name(key: str) -> str:
    """A key as people write it: `Enter`, `?`, `F4`, `Ctrl+O`."""
    sign = next((sign for sign, name in SIGNS.items() if name == key), "")
    return KEYS.get(key) or sign or (key if len(key) == 1 else key.title())


def key_names(command: Command) -> list[str]:
    """The command's keys as people write them: `Enter`, `?`, `S`."""
    return [key_name(key) for key in REBOUND.get(command.name, command.keys).split(",") if key]


def key_of(name: str) -> str:
    """The first key of a command as people write it; what to type where it has none."""
    return next(iter(key_names(BY_NAME[name])), f":{name}")


def with_keys(text: str) -> str:
    """A text with the keys of commands put in: `{sort} takes the next order`."""
    return _NAMED.sub(lambda found: key_of(found[1]) if found[1] in BY_NAME else found[0], text)


def completions(typed: str, available: Iterable[Command]) -> list[Command]:
    """Commands whose name begins with what was typed, then those that contain it.

    Each part begins with the places, then acts, then what else there is to say; what only moves the cursor or the
    focus, and has a key for that, comes last.
    """
    wanted = typed.strip().lower()
    known = [command for command in available if wanted in command.name]
    return sorted(known, key=lambda command: (not command.name.startswith(wanted), _rank(command)))


def _rank(command: Command) -> int:
    if command.action:
        return 3
    return 0 if command.place else 1 if command.permission or command.danger != "none" else 2
