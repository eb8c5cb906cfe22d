"""What every screen has: the band on top, a line of keys at the bottom, and a calm clock."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from fedtui.screens.handle import Shared
from fedtui.screens.widgets.clean import fit
from fedtui.screens.widgets.paint import Line, Lines, Painted, Part, drawable, row

TICK_SECONDS = 0.5
NAME_WIDTH = 20
"""Cells for the name of the node, and of the operator, in the band."""
SHORTEST = 8
KEYS = {"question_mark": "?", "enter": "Enter", "escape": "Esc", "pagedown": "PgDn", "pageup": "PgUp"}
"""Keys whose names in Textual are not what people call them."""


def key_name(key: str) -> str:
    """A key as people write it: `Enter`, `?`, `Ctrl+q`."""
    return KEYS.get(key) or (key if len(key) == 1 else key.capitalize())


class Frame(Screen[None], inherit_bindings=False):
    """A screen between the band and the line of keys. Subclasses give `body`, and `tick` it."""

    DEFAULT_CSS = """
    Frame { background: ansi_default; color: ansi_default; layout: vertical; }
    Frame.-ascii Window { scrollbar-size-vertical: 0; }
    Frame #notice { display: none; }
    Frame #notice.-shown { display: block; }
    """

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared

    def body(self) -> Iterator[Widget]:
        """The widgets between band and keys."""
        yield from ()

    def tick(self) -> None:
        """Bring the body up to date; called twice a second and when something changed."""

    def compose(self) -> ComposeResult:
        yield Lines(id="band")
        yield Lines(id="notice")
        yield from self.body()
        yield Lines(id="keys")

    def on_mount(self) -> None:
        """Start the clock."""
        self.set_class(Painted.ascii_only, "-ascii")
        self.update()
        self.set_interval(TICK_SECONDS, self.update)

    def on_resize(self) -> None:
        """Fit the lines to the new width."""
        self.call_after_refresh(self.update)

    def update(self) -> None:
        """Bring the screen up to date. What goes wrong here is shown, and must not end the console."""
        try:
            width = self.size.width or self.app.size.width  # none of its own yet, before the first paint
            self.query_one("#band", Lines).present([band(self.shared, width)])
            notice = self.query_one("#notice", Lines)
            text = self.shared.notice()
            notice.present([row([("›", "notice"), (text, "notice")], width=width, gap=1)])
            notice.set_class(bool(text), "-shown")
            self.query_one("#keys", Lines).present([keys(self.bindings_shown(), self.remark(), width)])
            self.tick()
        except Exception as error:
            self.shared.pulse.miss(error)

    def remark(self) -> str:
        """A few words for the right end of the line of keys."""
        return ""

    def bindings_shown(self) -> list[tuple[str, str]]:
        """The keys that work here, as (key, what it does), those of this screen first."""
        shown: dict[str, tuple[str, str]] = {}
        for one in self.active_bindings.values():
            if one.binding.show:
                shown.setdefault(one.binding.action, (key_name(one.binding.key), one.binding.description))
        return list(shown.values())


def band(shared: Shared, width: int) -> Line:
    """The line that says where one is: node, URL, operator, mode, and how fresh the data are."""
    fresh = freshness(shared)
    style = "tag" if shared.pulse.trouble else "band"
    right = Part(width - cell_len(fresh) - 1, cell_len(fresh), fresh, style)
    node = shared.node
    if node is None:
        items = [("fedtui", "band"), (shared.mode, "tag")]
    else:
        name, operator = short(node.name, NAME_WIDTH), f"operator {short(node.operator, NAME_WIDTH)}"
        mode = f" {shared.mode} " if shared.mode else ""
        room = right.x - 3 - sum(cell_len(text) + 2 for text in (name, operator, mode) if text)
        items = [(name, "strong"), (short(node.url, room), "band"), (operator, "band"), (mode, "tag")]
    left = row([(text, style) for text, style in items if text], width=right.x - 1, base="band")
    return Line((*left.parts, right), "band")


def short(text: str, width: int) -> str:
    """Foreign text, cleaned, in at most `width` cells; nothing if that leaves too little to read."""
    text = drawable(text)
    if cell_len(text) <= width:
        return text
    return fit(text, width) if width >= SHORTEST else ""


def freshness(shared: Shared) -> str:
    """How far the data can be trusted, in a word or two."""
    pulse = shared.pulse
    if shared.node is None:
        return "not open" if pulse.trouble else "opening"
    return f"STALE {int(pulse.age or 0)} s" if pulse.stale else "live"


def keys(shown: list[tuple[str, str]], remark: str, width: int) -> Line:
    """The line of keys, and at its right end the remark."""
    end = Part(max(width - cell_len(drawable(remark)) - 1, 0), cell_len(drawable(remark)), remark, "dim")
    items = [item for key, does in shown for item in ((key, "strong"), (does.lower(), ""))]
    parts: list[Part] = []
    x = 1
    for (text, style), gap in zip(items, [1, 3] * len(shown), strict=True):
        size = cell_len(text)
        if x + size > end.x - 1:
            break
        parts.append(Part(x, size, text, style))
        x += size + gap
    return Line((*parts, end))
