"""`fedtui mcp`: the node's tools for an AI client, on standard input and output."""

from __future__ import annotations

from typing import Annotated

import typer

from fedtui.cli.common import opened


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(mcp)


def mcp(
    read_only: Annotated[bool, typer.Option("--read-only", help="Leave out the tools that act.")] = False,
) -> None:
    """Serve MCP to the AI client that started this, acting as --operator, through the same gate."""
    from fedtui.core.audit import logs
    from fedtui.mcp import server

    with opened() as node:
        logs.configure(format_=node.settings.log_format, level=node.settings.log_level)
        server.serve(node, read_only=read_only)
