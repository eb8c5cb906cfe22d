"""What every request costs its caller, whatever comes of it: bytes nobody reads, and a rate of refusals.

A caller is the certificate that is presented, by a trusted proxy if there is one, else the address. Refusals are
counted for each call apart: a peer whose grant has ended and who goes on to use it still has its heartbeats taken.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from fedtui.api.rendering import Handler, TooMany, read_bytes
from fedtui.core.runtime.rate_limit import Budget, TokenBuckets, address_key

STRANGER_SECONDS = 0.002
"""What a request without a certificate is taken to cost, TLS and refusal, besides its body."""
MOST_UNREAD = 1024 * 1024
"""Bytes that are charged of a body that nobody reads, at most: what is announced beyond may never come."""
NO_CALL = "none"
NOT_CAUSED = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers of the 400s that a caller in good order gets, too: it is not the only one that writes."""
Payer = Callable[[web.Request], tuple[str, bool]]
"""The key of who pays for a request, and whether it shows no certificate."""


class Toll:
    """Middlewares for one process: `charged` around the rendering of problems, `required` inside of it."""

    def __init__(
        self, budget: Budget, refused: TokenBuckets, payer: Payer, exempt: Callable[[web.Request], bool]
    ) -> None:
        self._budget, self._refused, self._payer, self._exempt = budget, refused, payer, exempt

    @web.middleware
    async def required(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raises `TooMany` for a caller that has been refused too often, or costs too much."""
        if not self._exempt(request):
            payer, stranger = self._payer(request)
            wait = max(self._refused.owed(_refusals(payer, request), 1), self._budget.owed(payer))
            if wait:
                raise TooMany(wait)
            if stranger:
                self._budget.charge(payer, seconds=STRANGER_SECONDS)
        return await handler(request)

    @web.middleware
    async def charged(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Charges a refusal, and the bytes of a body that no handler has read: they come in all the same."""
        payer, _ = self._payer(request)  # now: of one that has left, nothing is known any more
        response = await handler(request)
        self._budget.charge(payer, size=_unread(request))
        status = response.status
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in NOT_CAUSED:
            self._refused.charge(_refusals(payer, request), 1)
        return response


def _unread(request: web.Request) -> int:
    """The bytes to charge for what no handler has read of a body; one in chunks does not say how long it is."""
    if request.content_length is None:
        return 0 if request.content.is_eof() else MOST_UNREAD
    return min(max(0, request.content_length - read_bytes(request)), MOST_UNREAD)


def _refusals(payer: str, request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{payer} {request.method} {resource.canonical}" if resource is not None else f"{payer} {NO_CALL}"


def address_of(request: web.Request) -> str:
    """The key of the address that a request comes from."""
    return address_key(request.remote or "")
