"""A port that takes connections and never answers: what a firewall that drops looks like. For drills."""

from __future__ import annotations

import signal
import socket
import sys


def main() -> None:
    """Listen at HOST PORT until killed."""
    host, port = sys.argv[1], int(sys.argv[2])
    with socket.create_server((host, port), reuse_port=False):
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
