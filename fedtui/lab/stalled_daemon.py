"""A daemon that holds the lease and does nothing: what one looks like whose scheduler hangs. For drills."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

from fedtui.core.bootstrap import open_node
from fedtui.core.runtime import daemons, lease, settings
from fedtui.lab.faults.model import require_practice

TTL = timedelta(seconds=30)
EVERY_SECONDS = 0.5


def main() -> None:
    """Take the lease of the node in FEDTUI_HOME, and keep it until killed."""
    node = open_node(settings.load(os.environ))
    require_practice(node.settings.home)
    with node.unit(node.actor("drill")) as unit:
        daemons.register(unit.session, node.holder, url=node.url, operations_url=None, now=unit.now)
    while True:
        with node.unit(node.actor("drill")) as unit:
            held = lease.take(unit.session, node.holder, now=unit.now, ttl=node.settings.lease_ttl)
            daemons.seen(unit.session, node.holder, now=unit.now, ttl=TTL)
        sys.stdout.write("holding\n" if held else "waiting\n")
        sys.stdout.flush()
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main()
