"""Answers as JSON: `{"success", "data"}` or `{"success", "error", "code", "decision_id"}`, whatever went wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from fedtui.api.bodies import InvalidBody
from fedtui.api.connections import waiting
from fedtui.core.errors import Denied, Problem, Refused, Unusable, WrongUsage
from fedtui.core.runtime import bounded_log
from fedtui.core.runtime.correlation import correlated

log = bounded_log.logger(__name__)
BODY_SECONDS = 20
CLIENT_LEFT = 499
"""For our metrics alone: nobody reads this answer."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = web.RequestKey("expect", str)
"""What a request expects before it sends its body (RFC 9110, 10.1.1), until that is met."""
_READ = web.RequestKey("read", int)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TooMany(Denied):
    """A rate limit is used up."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(429, "too many requests", code="rate_limited")
        self.retry_after = max(1, round(retry_after + 0.5))


class TooLarge(Denied):
    """A body of more bytes than the call takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes", code="too_large")


class UnsupportedEncoding(Denied):
    """A body that is packed: what it unpacks to has no bound."""

    def __init__(self) -> None:
        super().__init__(415, "a body must not be compressed (Content-Encoding)", code="unsupported_encoding")


@web.middleware
async def plain_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises `UnsupportedEncoding` for a body that is packed, whoever sends it and wherever to."""
    given = ",".join(request.headers.getall("Content-Encoding", [])).split(",")
    if any(coding.strip().lower() not in ("", "identity") for coding in given):
        raise UnsupportedEncoding
    if request.get(EXPECT, "100-continue").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    return await handler(request)


def data(content: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A success."""
    return web.json_response({"success": True, "data": content}, headers=headers, dumps=_dumps)


def document(content: Mapping[str, Any], text: str | None, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A success with a document as it is stored: JSON already, which nothing parses or writes anew."""
    head = _dumps({"success": True, "data": content})
    body = f'{head.removesuffix("}}")}, "document": {"null" if text is None else text}}}}}'
    return web.Response(body=body.encode(), headers=headers, content_type="application/json", charset="utf-8")


def failure(status: int, error: str, code: str, **more: Any) -> web.Response:
    """A refusal. `decision_id` is null where the authorization chain had no part in it."""
    answer = {"success": False, "error": error, "code": code, "decision_id": None, **more}
    return web.json_response(answer, status=status)


@web.middleware
async def render_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every exception becomes the contract's shape; what a remote may not know stays in our log.

    Each request is an act of its own: its events and lines in the log share a correlation id.
    """
    with correlated():
        response = await _rendered(request, handler)
    if request.get(EXPECT) is not None:
        response.force_close()  # its client may send the body, or may not: what follows cannot be read
    return response


async def _rendered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except TooMany as many:
        response = failure(many.http_status, many.public or "", many.public_code)
        response.headers["Retry-After"] = str(many.retry_after)
        return response
    except (TooLarge, UnsupportedEncoding) as body:
        response = failure(body.http_status, body.public or "", body.public_code)
        if isinstance(body, UnsupportedEncoding):
            response.headers["Accept-Encoding"] = "identity"
        response.force_close()  # after the answer: what is left of the body is not waited for
        return response
    except Denied as denied:
        log.info(
            "[FederationApi] %s %s from %s: %s (%s)",
            denied.http_status,
            request.path,
            request.remote,
            denied.problem,
            denied.code,
        )
        return failure(
            denied.http_status, denied.public or "refused", denied.public_code, decision_id=denied.decision_id
        )
    except InvalidBody as invalid:
        return failure(422, invalid.public or "invalid request", invalid.code, fields=invalid.fields)
    except WrongUsage as wrong:
        return failure(wrong.http_status, f"{wrong.problem} {wrong.cause}".strip(), wrong.code)
    except Unusable as problem:
        return _unavailable(request, problem)
    except Refused as refused:
        log.info("[FederationApi] 409 %s from %s: %s (%s)", request.path, request.remote, refused.problem, refused.code)
        return failure(409, refused.public or "refused in the present state", refused.code)
    except Problem as problem:
        return _unavailable(request, problem)
    except web.HTTPException as known:
        response = failure(known.status, known.reason.lower(), known.reason.lower().replace(" ", "_"))
        if known.status == HTTPStatus.REQUEST_TIMEOUT:
            response.force_close()  # after the answer: what is left of the body is not waited for
        return response
    except ConnectionError as left:
        log.info("[FederationApi] a client left before its request was complete: %s", type(left).__name__)
        response = failure(CLIENT_LEFT, "the client left", "client_left")
        response.force_close()
        return response
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("[FederationApi] %s failed", request.path)
        return failure(500, "internal error", "internal")


def _unavailable(request: web.Request, problem: Problem) -> web.Response:
    """Ours to mend, and nothing the caller did."""
    log.error("[FederationApi] %s: %s %s (%s)", request.path, problem.problem, problem.cause, problem.code)
    return failure(503, "temporarily unavailable", "unavailable")


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, bounded in size (413) and time (408); 400 for one that is not packed or cut as it says."""
    if (request.content_length or 0) > limit:
        raise TooLarge(limit)
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            with waiting(request):
                await _go_on(request)
                while more := await request.content.readany():
                    content += more
                    request[_READ] = len(content)
                    if len(content) > limit:
                        raise TooLarge(limit)
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest from error
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    return bytes(content)


async def _go_on(request: web.Request) -> None:
    """Send the client that waits for it that its body is wanted."""
    if request.get(EXPECT) is None:
        return
    del request[EXPECT]
    await request.writer.write(CONTINUE)
    request.writer.output_size = 0  # the answer itself has not begun


def read_bytes(request: web.Request) -> int:
    """How many bytes of the body `read_body` has read."""
    read: int = request.get(_READ, 0)
    return read


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, default=_spelled)


def _spelled(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
