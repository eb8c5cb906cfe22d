"""Carries a request out, and is killed before its nth statement: `python -m tests.api.executor REQUEST N`."""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event

from fedtui.core.bootstrap import open_node
from fedtui.core.operations import gate
from fedtui.core.runtime import settings


def main(approval_id: str, left: int) -> None:
    """Print what became of the request, if it comes to that."""
    node = open_node(settings.load(os.environ), migrate_first=False)

    @event.listens_for(node.database.engine, "before_cursor_execute")
    def count(*_what: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    print(gate.execute(node, node.acts, approval_id))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
