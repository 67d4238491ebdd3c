"""A real Directus from npm, run by a Node from its wheel, on a PostgreSQL of its own."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.process import ChildProcess, Command
from tests.app.live.directus.stand_in import ALL_FIELDS, ENTRY_FIELDS
from tests.support.servers import npm
from tests.support.servers.server import TEST_SETTINGS, server_folder, started

VERSION: Final = "11.17.4"
START_TIMEOUT_S: Final = 120.0
ADMIN: Final = {"email": "admin@example.com", "password": "of the test's administrator"}
PASSWORD: Final = "of every user of the tests"
_ID: Final = {"field": "id", "type": "uuid", "meta": {"special": ["uuid"]}, "schema": {"is_primary_key": True}}
COLLECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "events": {"name": "string", "course": "json"},
    "entries": ENTRY_FIELDS,
    "entry_devices": {"entry_id": "uuid", "device_id": "string"},
}


class RealDirectus:
    """A Directus with the collections of the live side; each user is given rights by a policy of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._policies: dict[str, str] = {}
        self._emails: dict[str, str] = {}
        self._known_events: set[str] = set()
        self._admin_token: str | None = None
        self._has_collections = False

    @classmethod
    @contextlib.contextmanager
    def installed(cls) -> Iterator[RealDirectus]:
        """Install what is missing, and run it for the time of the block."""
        prefix = npm.install_once("directus", VERSION, adapt=_without_sandbox)
        folder = server_folder()
        with started(EmbeddedPostgres(folder, settings=TEST_SETTINGS)) as database:
            url = f"http://127.0.0.1:{free_port()}"
            _run(prefix, folder, _environment(url, database.url), "bootstrap").wait(START_TIMEOUT_S)
            child = _run(prefix, folder, _environment(url, database.url), "start")
            try:
                _wait_until_up(url, child)
                yield cls(url)
            finally:
                child.kill()

    async def add_user(self) -> str:
        email = f"{uuid.uuid4().hex}@example.com"
        policy = await self._administer("POST", "/policies", {"name": email})
        user = {"email": email, "password": PASSWORD, "policies": [{"policy": policy["id"]}]}
        user_id: str = (await self._administer("POST", "/users", user))["id"]
        self._policies[user_id] = policy["id"]
        self._emails[user_id] = email
        return user_id

    async def login(self, user_id: str) -> str:
        credentials = {"email": self._emails[user_id], "password": PASSWORD, "mode": "session"}
        async with _session(self.url) as session, session.post("/auth/login", json=credentials) as response:
            assert response.status == 200, await response.text()
            return response.headers["Set-Cookie"].partition(";")[0]

    async def logout(self, cookie: str) -> None:
        async with (
            _session(self.url) as session,
            session.post("/auth/logout", json={"mode": "session"}, headers={"Cookie": cookie}) as response,
        ):
            assert response.status == 204, await response.text()

    async def suspend(self, user_id: str) -> None:
        await self._administer("PATCH", f"/users/{user_id}", {"status": "suspended"})

    async def add_event(self, name: str, event_id: str | None = None, course: object = None) -> str:
        if event_id in self._known_events:
            return event_id
        event = {"name": name, "course": course} | ({"id": event_id} if event_id else {})
        made: str = (await self._administer("POST", "/items/events", event))["id"]
        self._known_events.add(made)
        return made

    async def allow(self, user_id: str, events: Collection[str], fields: Collection[str] = ALL_FIELDS) -> None:
        await self.forbid(user_id)
        rule = {"id": {"_in": list(events)} if events else {"_null": True}}
        await self._permit(user_id, "events", fields, rule)

    async def forbid(self, user_id: str) -> None:
        mine = f"/permissions?filter[policy][_eq]={self._policies[user_id]}&fields=id"
        for permission in await self._administer("GET", mine):
            await self._administer("DELETE", f"/permissions/{permission['id']}")

    async def add_entry(self, event_id: str, **fields: object) -> str:
        made: str = (await self._administer("POST", "/items/entries", {"event_id": event_id, **fields}))["id"]
        return made

    async def allow_entries(self, user_id: str, fields: Collection[str]) -> None:
        await self._permit(user_id, "entries", fields, {})

    async def _permit(self, user_id: str, collection: str, fields: Collection[str], rule: object) -> None:
        wanted = {"collection": collection, "action": "read", "fields": list(fields), "permissions": rule}
        await self._administer("POST", "/permissions", {"policy": self._policies[user_id], **wanted})

    async def allow_public(self, events: Collection[str]) -> None:
        await self.forbid_public()
        wanted = {"collection": "events", "action": "read", "fields": list(ALL_FIELDS)}
        rule = {"id": {"_in": list(events)}}
        await self._administer("POST", "/permissions", {"policy": await self._public(), **wanted, "permissions": rule})

    async def forbid_public(self) -> None:
        given = f"/permissions?filter[policy][_eq]={await self._public()}&filter[collection][_eq]=events&fields=id"
        for permission in await self._administer("GET", given):
            await self._administer("DELETE", f"/permissions/{permission['id']}")

    async def _public(self) -> str:
        """Return the id of the policy of those who have neither a role nor a user."""
        path = "/access?filter[role][_null]=true&filter[user][_null]=true&fields=policy"
        policy: str = (await self._administer("GET", path))[0]["policy"]
        return policy

    async def _administer(self, method: str, path: str, body: object = None) -> Any:
        async with _session(self.url) as session:
            if self._admin_token is None:
                login = await _call(session, "POST", "/auth/login", ADMIN)
                self._admin_token = login["access_token"]
            session.headers["Authorization"] = f"Bearer {self._admin_token}"
            if not self._has_collections:
                self._has_collections = True
                for name, fields in COLLECTIONS.items():
                    await _call(session, "POST", "/collections", _collection(name, fields))
            return await _call(session, method, path, body)


def _collection(name: str, fields: Mapping[str, str]) -> dict[str, Any]:
    special = {"json": {"special": ["cast-json"]}}
    columns = [{"field": field, "type": kind, "meta": special.get(kind)} for field, kind in fields.items()]
    return {"collection": name, "schema": {}, "meta": {}, "fields": [_ID, *columns]}


def _session(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar())


async def _call(session: aiohttp.ClientSession, method: str, path: str, body: object = None) -> Any:
    async with session.request(method, path, json=body) as response:
        assert response.ok, f"{method} {path}: {response.status} {await response.text()}"
        return None if response.status == 204 else (await response.json())["data"]


def _without_sandbox(prefix: Path) -> None:
    """Leave away what is loaded at the start and used only where a flow runs scripts."""
    sandbox = prefix / "node_modules" / "isolated-vm" / "out"
    sandbox.mkdir(exist_ok=True)
    (sandbox / "isolated_vm.js").write_text("module.exports = {};\n")


def _environment(url: str, database_url: str) -> dict[str, str]:
    host, _, port = url.removeprefix("http://").partition(":")
    return {
        "PATH": os.environ["PATH"],
        "HOST": host,
        "PORT": port,
        "PUBLIC_URL": url,
        "SECRET": "a secret of the tests, long enough for its signatures",
        "DB_CLIENT": "pg",
        "DB_CONNECTION_STRING": database_url,
        "ADMIN_EMAIL": ADMIN["email"],
        "ADMIN_PASSWORD": ADMIN["password"],
        "TELEMETRY": "false",
        "IP_TRUST_PROXY": "true",
    }


def _run(prefix: Path, folder: Path, env: Mapping[str, str], command: str) -> ChildProcess:
    argv = [npm.node(prefix), str(prefix / "node_modules/directus/cli.js"), command]
    child = ChildProcess(Command(argv=argv, cwd=folder, log_path=folder / "directus.log", env=env))
    child.start()
    return child


def _wait_until_up(url: str, child: ChildProcess) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while child.exit_code() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{url}/server/ping", timeout=5).close()  # noqa: S310 - our own address
            return
        time.sleep(0.1)
    raise AssertionError(f"Directus does not answer:\n{child.log_tail()}")
