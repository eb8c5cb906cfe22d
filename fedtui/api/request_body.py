"""How a request's body comes in: bounded, paid for, and parsed where nobody waits for it.

A body is read once its caller has been judged and is within its rate. It is parsed on threads of its own, off the
event loop and outside any transaction; what that costs is charged to the caller, who has so much a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from fedtui.api.bodies import Body, parse
from fedtui.api.documents import Documents
from fedtui.api.rendering import TooMany, read_body, read_bytes
from fedtui.core.runtime.document_text import Normalized
from fedtui.core.runtime.rate_limit import Budget
from fedtui.core.runtime.settings import Settings

PARSERS = 2
Result = TypeVar("Result")


class Intake:
    """What the handlers share to read bodies. A key names who pays: a peer, a grant, or an address."""

    def __init__(self, settings: Settings) -> None:
        self.budget = Budget(settings.processor_ms_per_minute / 1000, settings.bytes_per_minute)
        self._parsers = ThreadPoolExecutor(PARSERS, thread_name_prefix="parsing")
        # Apart, so that a small body never waits for a large document.
        self._documents_pool = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._documents = Documents()

    def require_budget(self, *keys: str) -> None:
        """Raise `TooMany` for a caller that has cost too much lately."""
        wait = max(self.budget.owed(key) for key in keys)
        if wait:
            raise TooMany(wait)

    async def body(self, request: web.Request, model: type[Body], limit: int, key: str) -> Body:
        """The request's body as `model`. Raises `TooMany`, `TooLarge`, `InvalidBody`."""
        content = await self._content(request, limit, key)
        return await self.charged(self._parsers, key, parse, model, content)

    async def document(self, request: web.Request, limit: int, *keys: str) -> Normalized:
        """The request's body as a document. Raises as `body`."""
        content = await self._content(request, limit, *keys)
        loop = asyncio.get_running_loop()
        seconds, normalized = await loop.run_in_executor(self._documents_pool, self._documents.normalize, content)
        for key in keys:
            self.budget.charge(key, seconds=seconds)
        return normalized

    async def charged(
        self, pool: ThreadPoolExecutor | None, key: str, function: Callable[..., Result], *arguments: object
    ) -> Result:
        """Run a function on a thread, and charge the processor time that it takes."""

        def timed() -> Result:
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.budget.charge(key, seconds=time.thread_time() - began)

        if pool is None:
            return await asyncio.to_thread(timed)
        return await asyncio.get_running_loop().run_in_executor(pool, timed)

    async def _content(self, request: web.Request, limit: int, *keys: str) -> bytes:
        self.require_budget(*keys)
        try:
            return await read_body(request, limit)
        finally:
            for key in keys:
                self.budget.charge(key, size=read_bytes(request))

    def close(self) -> None:
        """Parse no more."""
        self._parsers.shutdown(wait=False, cancel_futures=True)
        self._documents_pool.shutdown(wait=False, cancel_futures=True)
        self._documents.close()
