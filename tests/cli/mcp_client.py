"""A real MCP client on `fedtui mcp`: the SDK's own, over standard input and output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from fedtui.core.node import Node
from fedtui.core.operations import gate
from tests.core.world import BEN

PATIENCE_SECONDS = 100


def log_of(node: Node) -> Path:
    """What the servers on a node wrote to their standard error."""
    return node.settings.home.parent / "mcp.log"


def environment(node: Node, operator: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FEDTUI_", "SSH_"))}
    return {**clean, "FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": operator}


@dataclass
class Session:
    """A client's session, with everything that it was answered."""

    client: Client
    told: list[str] = field(default_factory=list)
    called: set[str] = field(default_factory=set)

    async def call(self, name: str, **arguments: Any) -> Any:
        """A tool's answer, which must be no error."""
        answer, is_error = await self.ask(name, **arguments)
        assert not is_error, (name, answer)
        return answer

    async def refused(self, name: str, **arguments: Any) -> Mapping[str, str]:
        """The problem that a call ends in: code, problem, cause, fix."""
        answer, is_error = await self.ask(name, **arguments)
        assert is_error, (name, answer)
        assert set(answer) == {"error"}
        problem: Mapping[str, str] = answer["error"]
        assert set(problem) == {"code", "problem", "cause", "fix"}
        assert "Traceback" not in json.dumps(problem)
        return problem

    async def ask(self, name: str, **arguments: Any) -> tuple[Any, bool]:
        result = await self.client.call_tool(name, arguments)
        [content] = result.content
        assert content.type == "text"
        assert json.loads(content.text) == result.structured_content
        self.told.append(content.text)
        self.called.add(name)
        return result.structured_content, result.is_error


@asynccontextmanager
async def connected(node: Node, *words: str, operator: str = "ada", mode: Any = "auto") -> AsyncIterator[Session]:
    """A client that has started `fedtui mcp` on a node's home."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "fedtui", "mcp", *words], env=environment(node, operator)
    )
    with log_of(node).open("a") as errors, anyio.fail_after(PATIENCE_SECONDS):
        async with Client(stdio_client(server, errors), mode=mode) as client:
            yield Session(client)


def talk(node: Node, talk_: Callable[[Session], Awaitable[None]], *words: str, **options: Any) -> None:
    """One session, from beginning to end."""

    async def run() -> None:
        async with connected(node, *words, **options) as session:
            await talk_(session)

    anyio.run(run)


def decide(node: Node, request: Mapping[str, Any]) -> str | None:
    """Ben approves what was shown, and the manager carries it out; what became of it."""
    node.approve(BEN, request["id"], request["digest"], reason="test")
    return gate.execute(node, node.acts, request["id"])
