"""The lines that frame every screen: the band with its tags, the trail, and the keys."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from fedtui.screens.shell.commands import Command, key_names
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.widgets.clean import fit
from fedtui.screens.widgets.paint import Line, Part, drawable, row

if TYPE_CHECKING:
    from fedtui.core.views.node_summary import Overview

NAME_WIDTH = 20
"""Cells for the name of the node, and of the operator, in the band."""
SHORTEST = 8
BANDS = ("band-blue", "band-green", "band-magenta", "band-cyan")
"""Styles of the band: which one is a node's own follows from its id."""
KEPT = ("command", "help", "quit")
"""What stays in the line of keys, however short."""


class Tag(NamedTuple):
    """What must not be overlooked: when it is shown, in a word or two, and shorter where the room is scarce."""

    text: Callable[[ConsoleContext], str]
    short: str = ""


def _seen(tell: Callable[[Overview], str]) -> Callable[[ConsoleContext], str]:
    """A tag that depends on the overview: nothing before that is there."""
    return lambda shared: tell(shared.overview) if shared.overview is not None else ""


TAGS: Sequence[Tag] = (
    Tag(lambda shared: shared.mode),
    Tag(lambda shared: "READ-ONLY" if shared.read_only else "", "RO"),
    Tag(lambda shared: "RESTRICTED" if shared.restricted else "", "RESTR"),
    Tag(_seen(lambda seen: "QUARANTINE: fedtui db quarantine" if seen.quarantined else ""), "QUARANTINE"),
    Tag(_seen(lambda seen: "" if seen.daemons else "DAEMON SILENT" if seen.silent_daemon else "NO DAEMON")),
    Tag(_seen(lambda seen: "PAUSED" if seen.manager_paused else "")),
    Tag(_seen(lambda seen: "DRILL" if seen.drill_mode else "")),
    Tag(lambda shared: _lowered(shared)),
    Tag(_seen(lambda seen: f"RECOVERED {', '.join(seen.recovered)}" if seen.recovered else ""), "RECOVERED"),
    Tag(_seen(lambda seen: "NOTICES FAIL" if seen.notices_failing else "")),
    Tag(_seen(lambda seen: f"{seen.waiting} to approve" if seen.waiting else "")),
)
"""In their order in the band."""


def _lowered(shared: ConsoleContext) -> str:
    """Policies lowered for an emergency, and how long yet."""
    seen, now = shared.overview, shared.now()
    lowered = [one for one in seen.lowered if one[2] > now] if seen is not None else []
    if not lowered:
        return ""
    action, policy, until = lowered[0]
    seconds = int((until - now).total_seconds())
    more = f" +{len(lowered) - 1}" if len(lowered) > 1 else ""
    name = action.removeprefix("system.").removeprefix("federation_")
    return f"LOWERED {name} to {policy.partition('_')[0]}{more} {seconds // 60}:{seconds % 60:02}"


def tags_of(shared: ConsoleContext, *, short: bool = False) -> list[str]:
    """The tags that apply now."""
    return [(tag.short if short else "") or text for tag in TAGS if (text := tag.text(shared))]


def band(shared: ConsoleContext, width: int) -> Line:
    """The line that says where one is: node, URL, operator, modes, what waits, and how fresh the data are."""
    fresh = freshness(shared)
    node, base = shared.node, band_style(shared)
    right = Part(width - cell_len(fresh) - 1, cell_len(fresh), fresh, "tag" if shared.pulse.trouble else "")
    tags = [f" {drawable(text)} " for text in tags_of(shared)]
    room = right.x - 3 - sum(cell_len(tag) + 1 for tag in tags)
    if room < SHORTEST:
        tags = [drawable(text) for text in tags_of(shared, short=True)]
        room = right.x - 3 - sum(cell_len(tag) + 1 for tag in tags)
    named = short(node.name if node else "fedtui", min(NAME_WIDTH, max(room, SHORTEST)))
    items = [(named, "strong")]
    room -= cell_len(named)
    if node is not None:
        operator = short(f"operator {node.operator}", min(NAME_WIDTH + 9, room - 2))
        url = short(node.url, room - cell_len(operator) - 4)
        items += [(text, "") for text in (url, operator) if text]
    left = row(items, width=right.x - 1, base=base)
    x = left.parts[-1].x + left.parts[-1].width + 2
    tagged = row([(tag, "tag") for tag in tags], width=right.x - 1, x=x, gap=1)
    return Line((*left.parts, *tagged.parts, right), base)


def band_style(shared: ConsoleContext) -> str:
    """The band's colours: nodes have their own, as far as there are colours. Their names differ anyway."""
    seen = shared.overview
    return BANDS[zlib.crc32(seen.node_id.encode()) % len(BANDS)] if seen else BANDS[0]


def short(text: str, width: int) -> str:
    """Foreign text, cleaned, in at most `width` cells; nothing if that leaves too little to read."""
    text = drawable(text)
    if cell_len(text) <= width:
        return text
    return fit(text, width) if width >= SHORTEST else ""


def freshness(shared: ConsoleContext) -> str:
    """How far the data can be trusted, in a word or two."""
    pulse = shared.pulse
    if shared.node is None:
        return "not open" if pulse.trouble else "opening"
    return f"STALE {int(pulse.age or 0)} s" if pulse.stale else "live"


def trail_line(trail: str, remark: str, width: int) -> Line:
    """Where one is at the left, the remark at the right."""
    size = cell_len(drawable(remark))
    end = Part(max(width - size - 1, 0), size, remark, "dim")
    room = end.x - 2
    return Line((Part(1, room, trail, "strong"), end) if room > 0 else (end,))


def key_lines(shown: Sequence[tuple[Command, bool]], width: int, *, most: int) -> list[Line]:
    """The keys, in one line if they fit, else in two: what acts, and what goes about.

    `most` is how many lines there may be; with one, what acts gives way (help has it). What
    may not be used now stays, dimmed.
    """
    acts = [one for one in shown if one[0].permission]
    others = [one for one in shown if not one[0].permission]
    if _size([*acts, *others]) <= width - 2:
        return [_keys([*acts, *others], width)]
    return [_keys(some, width) for some in ([acts, others] if acts and most > 1 else [others])]


def _key(command: Command) -> str:
    return key_names(command)[0] if command.keys else ":"


def _size(shown: Sequence[tuple[Command, bool]]) -> int:
    return sum(len(_key(one)) + len(one.footer) + 3 for one, _ in shown) - 2


def _keys(shown: Sequence[tuple[Command, bool]], width: int) -> Line:
    """One line of them. Where it is too short the last give way, but not the ways out and on."""
    fitting = list(shown)
    while _size(fitting) > width - 2 and (spare := [one for one in fitting if one[0].name not in KEPT]):
        fitting.remove(spare[-1])
    parts: list[Part] = []
    x = 1
    for command, usable in fitting:
        key, word = _key(command), command.footer
        parts.append(Part(x, len(key), key, "strong" if usable else "dim"))
        parts.append(Part(x + len(key) + 1, len(word), word, "" if usable else "dim"))
        x += len(key) + len(word) + 3
    return Line(tuple(parts))
