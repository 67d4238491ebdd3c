"""What Directus answers, byte for byte: the same of the stand-in as of the real one."""

from __future__ import annotations

import json
from typing import NamedTuple

import aiohttp

from tests.app.live.directus.stand_in import COOKIE, DirectusServer

NO_COLLECTION = (
    '{"errors":[{"message":"You don\'t have permission to access collection \\"events\\" or it does not exist. Queried '
    'in root.","extensions":{"reason":"You don\'t have permission to access collection \\"events\\" or it does not '
    'exist. Queried in root.","code":"FORBIDDEN"}}]}'
)
INVALID_CREDENTIALS = '{"errors":[{"message":"Invalid user credentials.","extensions":{"code":"INVALID_CREDENTIALS"}}]}'
FORBIDDEN = '{"errors":[{"message":"You don\'t have permission to access this.","extensions":{"code":"FORBIDDEN"}}]}'


class Said(NamedTuple):
    status: int
    body: str
    headers: tuple[str | None, ...] = ("application/json; charset=utf-8", None, None, "Directus")


def found(body: str) -> Said:
    return Said(200, body, ("application/json; charset=utf-8", "no-cache", "Origin, Cache-Control", "Directus"))


async def said(directus: DirectusServer, path: str, cookie: str | None = None, **headers: str) -> Said:
    sent = headers | ({} if cookie is None else {"Cookie": cookie})
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(directus.url + path, headers=sent) as answer,
    ):
        names = ("Content-Type", "Cache-Control", "Vary", "X-Powered-By")
        return Said(answer.status, await answer.text(), tuple(answer.headers.get(name) for name in names))


async def test_who_am_i(directus: DirectusServer) -> None:
    """The id of the session's user; 401 for no session; 403 for a wrong signature."""
    user = await directus.add_user()
    cookie = await directus.login(user)
    path = "/users/me?fields=id"

    assert await said(directus, path, cookie) == found(f'{{"data":{{"id":"{user}"}}}}')
    for other in (None, "theme=dark", f"{COOKIE}=garbage", f"{COOKIE}=a.b.c"):
        assert await said(directus, path, other) == Said(401, INVALID_CREDENTIALS)
    signed, _, signature = cookie.rpartition(".")
    assert await said(directus, path, f"{signed}.{signature[::-1]}") == Said(
        403, '{"errors":[{"message":"Invalid token.","extensions":{"code":"INVALID_TOKEN"}}]}'
    )
    assert await said(directus, path, cookie, Authorization="Bearer bad") == Said(401, INVALID_CREDENTIALS)
    await directus.logout(cookie)
    assert await said(directus, path, cookie) == Said(401, INVALID_CREDENTIALS)
    assert await said(directus, "/items/events/1?fields=id", cookie) == Said(401, INVALID_CREDENTIALS)


async def test_one_event(directus: DirectusServer) -> None:
    """The id of a readable event; 403 for every other, with as many words as the rights leave."""
    event, other = await directus.add_event("race"), await directus.add_event("other")
    user = await directus.add_user()
    cookie = await directus.login(user)

    assert await said(directus, f"/items/events/{event}?fields=id", cookie) == Said(403, NO_COLLECTION)
    assert await said(directus, f"/items/events/{event}?fields=id") == Said(403, NO_COLLECTION)
    await directus.allow(user, [event])
    for spelling in (event, event.upper()):
        assert await said(directus, f"/items/events/{spelling}?fields=id", cookie) == found(
            f'{{"data":{{"id":"{event}"}}}}'
        )
    for missing in (other, "malformed", "..%2Fusers%2Fme", "a%00b", "7"):
        assert await said(directus, f"/items/events/{missing}?fields=id", cookie) == Said(403, FORBIDDEN)
    await directus.allow(user, [event], ["name"])
    refused = await said(directus, f"/items/events/{event}?fields=id", cookie)
    assert refused == Said(403, NO_COLLECTION.replace("collection", 'field \\"id\\" in collection'))


async def test_the_list(directus: DirectusServer) -> None:
    """The readable events by name, names in UTF-8; 403 where one field may not be read."""
    events = [await directus.add_event(name) for name in ("ä", "a")]
    user = await directus.add_user()
    cookie = await directus.login(user)
    path = "/items/events?fields=id,name&limit=200&sort=name"

    assert await said(directus, path, cookie) == Said(403, NO_COLLECTION)
    await directus.allow(user, events)
    rows = [{"id": events[1], "name": "a"}, {"id": events[0], "name": "ä"}]
    text = json.dumps({"data": rows}, separators=(",", ":"), ensure_ascii=False)
    assert await said(directus, path, cookie) == found(text)
    await directus.allow(user, events[:1], ["id"])
    assert await said(directus, path, cookie) == Said(
        403, NO_COLLECTION.replace("collection", 'field \\"name\\" in collection')
    )
    assert await said(directus, "/items/events?fields=id&limit=200", cookie) == found(
        f'{{"data":[{{"id":"{events[0]}"}}]}}'
    )


async def test_no_such_route(directus: DirectusServer) -> None:
    """404 is for wrong routes alone."""
    assert await said(directus, "/nowhere") == Said(
        404,
        '{"errors":[{"message":"Route /nowhere doesn\'t exist.",'
        '"extensions":{"path":"/nowhere","code":"ROUTE_NOT_FOUND"}}]}',
    )
