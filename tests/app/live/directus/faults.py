"""Ways in which a Directus, or whatever stands before it, fails to answer."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tests.app.live.directus.stand_in import Fault, error


def too_many_requests(retry_after: str | None) -> Fault:
    """429, as the limits on rates answer."""
    extensions = {"limit": 50, "reset": "2026-05-02T12:00:02.000Z", "code": "REQUESTS_EXCEEDED"}

    async def respond(_request: web.Request) -> web.StreamResponse:
        return error(429, "Too many requests, retry after 2s.", retry_after, **extensions)

    return respond


def under_pressure(retry_after: str | None) -> Fault:
    """503, as the limit on load answers."""
    extensions = {"service": "api", "reason": "Under pressure", "code": "SERVICE_UNAVAILABLE"}

    async def respond(_request: web.Request) -> web.StreamResponse:
        return error(503, 'Service "api" is unavailable. Under pressure.', retry_after, **extensions)

    return respond


async def broken(_request: web.Request) -> web.StreamResponse:
    """500."""
    return error(500, "An unexpected error occurred.", code="INTERNAL_SERVER_ERROR")


async def silence(_request: web.Request) -> web.StreamResponse:
    """No answer for as long as the client waits."""
    await asyncio.Event().wait()
    raise AssertionError("waits for ever")


async def cut(request: web.Request) -> web.StreamResponse:
    """A connection that breaks."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_short(request: web.Request) -> web.StreamResponse:
    """A connection that breaks within the answer."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"data":')
    assert request.transport is not None
    request.transport.close()
    return response


def body(content: bytes, *, encoding: str | None = None) -> Fault:
    """200 with this content."""
    headers = {"Content-Type": "application/json; charset=utf-8"} | ({"Content-Encoding": encoding} if encoding else {})

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, headers=headers)

    return respond


async def endless(request: web.Request) -> web.StreamResponse:
    """200 with content that does not end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 16_384)


def redirect(status: int, target: str) -> Fault:
    """A redirection."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": target})

    return respond


def page(status: int) -> Fault:
    """A page of something before Directus, or in its place."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="\n<!doctype html><title>Sign in</title>", content_type="text/html")

    return respond
