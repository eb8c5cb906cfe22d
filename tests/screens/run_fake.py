"""A console on a fake node, as a process of its own: what the terminal tests start.

Arguments: `busy` changes a peer ten times a second, `hang` never opens the node,
`crash` raises from inside the console, `half` leaves output half written.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from fake_node import FakeNode, fake_source, peer

import fedtui.app
from fedtui.cli import streams
from fedtui.cli.guard import guarded

COUNT = 500


class FakeConsole(fedtui.app.Console):
    """The console on a `FakeNode`, beginning with its table."""

    DEFAULT_MODE = "peers"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.shared.source_of = fake_source

    def on_ready(self) -> None:
        """Fail, where the test asks for it."""
        if "crash" in sys.argv:
            token = "s3cret"
            raise RuntimeError(f"broken after {len(token)}")

    def on_unmount(self) -> None:
        """Leave a piece unwritten, as the terminal's end does where it comes between two of them."""
        if "half" in sys.argv and sys.__stderr__ is not None:
            sys.__stderr__.write(".")


def be_busy(node: FakeNode) -> None:
    """Commit a change ten times a second, forever."""
    while True:
        for number in range(20):
            time.sleep(0.1)
            error = None if node.peers[peer(number).id].last_outbound_error else "remote_timeout: no answer"
            node.change(peer(number).id, last_outbound_error=error)


def open_node() -> FakeNode:
    """Open the fake node."""
    if "hang" in sys.argv:
        time.sleep(3600)
    node = FakeNode([peer(number) for number in range(COUNT)])
    if "busy" in sys.argv:
        threading.Thread(target=be_busy, args=(node,), daemon=True).start()
    return node


if __name__ == "__main__":
    fedtui.app.Console = FakeConsole  # type: ignore[misc]
    streams.make_usable()
    sys.exit(guarded(lambda: fedtui.app.run_console(open_node)))
