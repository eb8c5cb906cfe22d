"""What every dialog has: a box in the middle, over the screen that it is about, and keys from the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget

from fedtui.screens.shell.commands import Command, at, bindings, key_names
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Painted, paragraphs, row

T = TypeVar("T")
LEAST_WIDTH = 20


class Scrolled(VerticalScroll, can_focus=False, inherit_bindings=False):
    """A part of a dialog that scrolls without keys of its own: the dialog's keys say what is scrolled.

    `settled` is called when its size or that of its content has changed.
    """

    def __init__(self, *, classes: str, settled: Callable[[], object] = str) -> None:
        super().__init__(classes=classes)
        self._settled = settled

    def on_resize(self) -> None:
        """Another size, or another content."""
        self._settled()


class Dialog(ModalScreen[T], inherit_bindings=False):
    """A dialog. The screen beneath stays in sight, so that nobody forgets which node it is about.

    Subclasses name their `places` in the table of commands, and give either what is `told`
    or widgets of their own (`content`, `show`).
    """

    AUTO_FOCUS = ""  # a dialog says itself where its focus is: Textual would scroll to it by sizes of before the layout
    places: ClassVar[tuple[str, ...]] = ()
    dangerous = False
    ready = False
    """Whether it can be typed into."""
    _over = False

    class Ready(Message):
        """The dialog takes keys from now on."""

        bubble = True

    DEFAULT_CSS = """
    Dialog { align: center middle; background: ansi_default 0%; color: ansi_default; }
    Dialog .box {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: round ansi_bright_black; padding: 0 1; background: ansi_default; color: ansi_default;
        scrollbar-size-vertical: 1;
    }
    Dialog .box.-danger { border: heavy ansi_red; }
    Dialog .box.-ascii { border: ascii ansi_bright_black; }
    Dialog .box Lines { height: auto; }
    """

    def __init_subclass__(cls, **options: Any) -> None:
        cls.BINDINGS = [*bindings(*cls.places)]
        super().__init_subclass__(**options)

    def compose(self) -> ComposeResult:
        box = Scrolled(classes="box")
        box.set_class(self.dangerous, "-danger").set_class(Painted.ascii_only, "-ascii")
        with box:
            yield from self.content()

    def content(self) -> Iterator[Widget]:
        """What stands in the box."""
        yield Lines(id="told")

    def told(self) -> list[tuple[str, str]]:
        """(text, style) paragraphs."""
        return []

    def commands(self) -> list[Command]:
        """The commands of the last line."""
        return [command for command in at(*self.places) if command.footer]

    def show(self) -> None:
        """Bring the box up to date."""
        block = self.query_one("#told", Lines)
        width = max(block.size.width, LEAST_WIDTH)
        block.present([*paragraphs(self.told(), width, margin=0), BLANK, key_line(self.commands(), width)])

    def on_mount(self) -> None:
        """Say it."""
        self.show()
        self.call_after_refresh(self._be_ready)

    def _be_ready(self) -> None:
        if not self.ready:
            self.ready = True
            self.post_message(self.Ready())

    def end(self, result: T | None) -> None:
        """Close with this result, once: keys that were typed faster than it closes do nothing more."""
        if self.is_current and not self._over:
            self._over = True
            self.dismiss(result)

    def on_resize(self) -> None:
        """Wrap the words anew."""
        self.call_after_refresh(self.show)

    def action_close(self) -> None:
        """Leave, with nothing."""
        self.end(None)

    def action_scroll(self, pages: int) -> None:
        """Scroll a text that is longer than the terminal."""
        box = self.query_one(".box", VerticalScroll)
        box.scroll_relative(y=pages * max(box.size.height - 1, 1), animate=False)


def key_line(commands: list[Command], width: int) -> Line:
    """Keys and what they do, in the quiet style."""
    items = [(f"{key_names(one)[0]} {one.footer}", "dim") for one in commands]
    return row(items, width=width, x=0, gap=3)
