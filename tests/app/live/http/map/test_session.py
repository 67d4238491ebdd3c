"""Sessions that end, and who comes next, on the live map in a real Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from playwright.async_api import expect

from tests.app.live.browsing import MapPage, enter
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import AHEAD_S, ONE, Site, site

__all__ = ("site",)

#: Sessions that end are found out at once.
_AT_ONCE = {"LIVE_REAUTHORIZE_MS": "1000", "DIRECTUS_CACHE_MS": "0"}
_RIDER = "Zoe Novak"
_SIGN_IN = "https://www.example.org/login"
#: The page's own timers, which would find out later what these tests are about, do not go off.
_NO_TIMERS = """
const after = window.setTimeout;
window.setTimeout = (action, delayMs, ...rest) => (delayMs >= 2000 ? 1 : after(action, delayMs, ...rest));
"""
#: As browsers tell a page that was left, and one in a frame that is shown again.
_COME_BACK = """() => {
  dispatchEvent(new Event("blur"));
  document.dispatchEvent(new Event("visibilitychange"));
}"""
#: As they tell a window.
_FOCUS = """() => {
  dispatchEvent(new Event("blur"));
  dispatchEvent(new Event("focus"));
}"""
#: Notes each number of devices that is shown from now on.
_COUNT = """() => {
  window.counts = new Set([document.body.dataset.deviceCount]);
  new MutationObserver(() => window.counts.add(document.body.dataset.deviceCount))
    .observe(document.body, { attributeFilter: ["data-device-count"] });
}"""
#: Entries have the ids that Directus gave them.
_NAME_ENTRY = """
ALTER TABLE entry_devices DROP CONSTRAINT entry_devices_entry_id_fkey, ALTER entry_id TYPE text;
ALTER TABLE entries ALTER id TYPE text;
UPDATE entries SET id = '{0}';
UPDATE entry_devices SET entry_id = '{0}';
"""
#: Which of these is not wholly in view, or has something else on it.
_COVERED = """() => ["#whole-map", "#notice-title", "#sign-in"].filter((name) => {
  const element = document.querySelector(name);
  const { left, top, right, bottom } = element.getBoundingClientRect();
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  // Corners may be round.
  const points = [[x, y], [left + 1, y], [right - 1, y], [x, top + 1], [x, bottom - 1]];
  return !points.every((point) => element.contains(document.elementFromPoint(...point)));
})"""


async def sign_in(page: MapPage, directus: DirectusServer, user: str) -> str:
    """Sign in a user in another tab, so to speak; return the Cookie header of the session."""
    cookie = await directus.login(user)
    name, _, value = cookie.partition("=")
    await page.page.context.add_cookies([{"name": name, "value": value, "url": page.address, "httpOnly": True}])
    return cookie


@contextlib.asynccontextmanager
async def visiting(site: Site, directus: DirectusServer, **variables: str) -> AsyncIterator[MapPage]:
    """Open an empty tab before a worker that asks Directus."""
    worker = await site.serve(LIVE_AUTH="directus", DIRECTUS_BASE_URL=directus.url, **_AT_ONCE | variables)
    async with site.page(worker) as page:
        yield page


async def test_who_comes_next_sees_other_events(site: Site, directus: DirectusServer) -> None:
    """Signed out, no event of the last user is offered; who signs in then is offered those they may see."""
    race, secret, other = [await directus.add_event(name) for name in ("Race", "Secret", "Other")]
    ana, bo = await directus.add_user(), await directus.add_user()
    await directus.allow(ana, [race, secret])
    await directus.allow(bo, [race, other])
    await enter(site.database, {race: [ONE]})
    async with visiting(site, directus) as page:
        offered = page.page.locator("#event-select option")
        session = await sign_in(page, directus, ana)
        await page.open(race)
        await page.until("live")
        await expect(offered).to_have_text(["Race", "Secret"])
        await directus.logout(session)
        await page.until("signed-out")
        await expect(offered).to_have_count(0)
        await expect(page.page.locator("#event-form")).to_be_hidden()
        await sign_in(page, directus, bo)
        await page.until("live")
        await expect(offered).to_have_text(["Other", "Race"])
        await expect(page.page.locator("#event-select")).to_have_value(race)


async def enter_rider(site: Site, directus: DirectusServer, event_id: str, *users: str) -> None:
    """Enter a device in an event, for a rider whose name these users may see."""
    entry_id = await directus.add_entry(event_id, name=_RIDER)
    for user in users:
        await directus.allow_entries(user, ["id", "event_id", "name"])
    await enter(site.database, {event_id: [ONE]})
    await site.database.execute(_NAME_ENTRY.format(entry_id))


async def test_who_follows_at_once(site: Site, directus: DirectusServer) -> None:
    """Who has signed in before anybody noticed that the last user left sees their own events, and no name of before."""
    race, secret, other = [await directus.add_event(name) for name in ("Race", "Secret", "Other")]
    ana, bo = await directus.add_user(), await directus.add_user()
    await directus.allow(ana, [race, secret])
    await directus.allow(bo, [race, other])
    await enter_rider(site, directus, race, ana)
    async with visiting(site, directus, LIVE_ENTRY_FIELDS="name") as page:
        offered, name = page.page.locator("#event-select option"), page.page.locator("#devices .name")
        session = await sign_in(page, directus, ana)
        await page.open(race)
        await page.until("live")
        await site.publish({ONE: 41.1}, ahead_s=AHEAD_S)
        await expect(name).to_have_text(_RIDER)
        await expect(offered).to_have_text(["Race", "Secret"])
        await sign_in(page, directus, bo)
        await directus.logout(session)
        await expect(offered).to_have_text(["Other", "Race"])
        await expect(name).to_have_text(ONE)
        await expect(page.page.locator("#event-select")).to_have_value(race)
        await page.until("live")
        assert page.complaints == []


async def test_who_comes_back_as_another(site: Site, directus: DirectusServer) -> None:
    """Whose session goes on, but not here, is noticed when the page is shown again; so is that there is none any more.

    The server looks at sessions much later.
    """
    race, other = [await directus.add_event(name) for name in ("Race", "Other")]
    ana, bo = await directus.add_user(), await directus.add_user()
    await directus.allow(ana, [race])
    await directus.allow(bo, [race, other])
    await enter_rider(site, directus, race, ana)
    async with visiting(site, directus, LIVE_ENTRY_FIELDS="name", LIVE_REAUTHORIZE_MS="3600000") as page:
        offered, name = page.page.locator("#event-select option"), page.page.locator("#devices .name")
        await sign_in(page, directus, ana)
        await page.open(race)
        await page.until("live")
        await site.publish({ONE: 41.1}, ahead_s=AHEAD_S)
        await expect(name).to_have_text(_RIDER)
        await sign_in(page, directus, bo)
        await page.page.evaluate(_COME_BACK)
        await expect(offered).to_have_text(["Other", "Race"])
        await expect(name).to_have_text(ONE)
        await page.until("live")
        await page.page.context.clear_cookies()
        await page.page.evaluate(_FOCUS)
        await page.until("signed-out")
        await expect(name).to_have_count(0)


async def test_the_public_signs_in(site: Site, directus: DirectusServer) -> None:
    """Who watched what everybody may and signs in elsewhere comes back to more, and what was shown stays meanwhile."""
    race, secret, user = await directus.add_event("Race"), await directus.add_event("Secret"), await directus.add_user()
    await directus.allow(user, [race, secret])
    await directus.allow_public([race])
    await enter_rider(site, directus, race, user)
    async with visiting(site, directus, LIVE_ALLOW_PUBLIC="true", LIVE_ENTRY_FIELDS="name") as page:
        offered, name = page.page.locator("#event-select option"), page.page.locator("#devices .name")
        await page.open(race)
        await page.until("live")
        await site.publish({ONE: 41.1}, ahead_s=AHEAD_S)
        await expect(name).to_have_text(ONE)
        await expect(offered).to_have_text(["Race"])
        await page.page.evaluate(_COUNT)
        await sign_in(page, directus, user)
        await page.page.evaluate(_COME_BACK)
        await expect(offered).to_have_text(["Race", "Secret"])
        await expect(name).to_have_text(_RIDER)
        assert await page.page.evaluate("() => [...window.counts]") == ["1"]
        assert page.complaints == []
    await directus.forbid_public()


async def test_a_replay_outlives_its_session(site: Site, directus: DirectusServer) -> None:
    """The moment that was shown stays in the address, and in links, and is shown again after signing in."""
    race, user = await directus.add_event("Race"), await directus.add_user()
    await directus.allow(user, [race])
    await enter(site.database, {race: [ONE]})
    start = now_ms() // 1000 * 1000 - 60_000
    moment = f"time={datetime.fromtimestamp(start // 1000 + 20, UTC):%Y-%m-%dT%H:%M:%SZ}"
    async with visiting(site, directus) as page:
        for second in range(40):
            await publish(site.redis, site.stream, ONE, start + 1000 * second, lat=41 + second / 1000)
        await site.stored(40)
        session = await sign_in(page, directus, user)
        await page.page.goto(f"{page.address}/#event={race}&device={ONE}&{moment}")
        await page.until_devices({ONE: 41.02})
        await directus.logout(session)
        await page.until("signed-out")
        await expect(page.page.locator("body")).not_to_have_attribute("data-replay", "")
        assert moment in page.page.url
        await sign_in(page, directus, user)
        await page.until("live")
        await page.until_devices({ONE: 41.02})
        assert moment in page.page.url


async def test_the_public_is_led_to_more(site: Site, directus: DirectusServer) -> None:
    """Who may not see an event without a session is led to where one signs in, and goes on after coming back.

    So does who sees none at all, and who was signed in before.
    """
    race, user = await directus.add_event("Race"), await directus.add_user()
    await directus.allow(user, [race])
    await directus.allow_public([])
    await enter(site.database, {race: [ONE]})
    async with visiting(site, directus, LIVE_ALLOW_PUBLIC="true", LIVE_SIGN_IN_URL=_SIGN_IN) as page:
        link = page.page.get_by_role("link", name="Sign in")
        await page.page.goto(f"{page.address}/")
        await page.until("idle")
        await sign_in(page, directus, user)
        await page.page.evaluate(_FOCUS)
        await page.until("live")
        await page.page.context.clear_cookies()
        await page.page.evaluate(_FOCUS)
        await page.until("forbidden")
        await expect(link).to_have_attribute("href", _SIGN_IN)
        await expect(page.page.locator("#notice-text")).to_contain_text("if you sign in")
        await sign_in(page, directus, user)
        await page.page.evaluate(_FOCUS)
        await page.until("live")
        await expect(link).to_be_hidden()
        await expect(page.page.locator("#event-select option")).to_have_text(["Race"])
    await directus.forbid_public()


async def test_in_a_small_frame(site: Site, directus: DirectusServer) -> None:
    """In a frame of the usual size one reads what is the matter, and can sign in; shown again, the map goes on."""
    race, user = await directus.add_event("Race"), await directus.add_user()
    await directus.allow(user, [race])
    await enter(site.database, {race: [ONE]})
    async with visiting(site, directus, LIVE_SIGN_IN_URL=_SIGN_IN) as page:
        await page.page.add_init_script(_NO_TIMERS)
        await page.page.set_viewport_size({"width": 300, "height": 150})
        await page.page.goto(f"{page.address}/?embed=1#event={race}")
        await page.until("signed-out")
        assert await page.page.evaluate(_COVERED) == []
        await sign_in(page, directus, user)
        await page.page.evaluate(_COME_BACK)
        await page.until("live")
