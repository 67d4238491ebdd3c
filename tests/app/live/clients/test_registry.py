"""Topics and connections, found from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import given, strategies as st

from telemetry_app.live.clients.lane import SIZE
from telemetry_app.live.clients.registry import Registry
from telemetry_app.live.clients.subscription import Subscription
from tests.support.observed import LiveObserved

if TYPE_CHECKING:
    from telemetry_app.live.clients.connection import Connection

TOPICS = ["event:1", "event:2", "event:3"]


class _Connection:
    def __init__(self) -> None:
        self.steady = list[Subscription]()


def connection() -> Connection:
    """Return a stand-in: the registry only tells connections apart."""
    return cast("Connection", _Connection())


def subscription(connection: Connection, topic: str) -> Subscription:
    return Subscription(connection, topic, topic.removeprefix("event:"))


def test_both_directions() -> None:
    """A subscription is found from its topic and from its connection, until it ends."""
    observed = LiveObserved()
    registry = Registry(observed)
    one, two = connection(), connection()
    for who in (one, two):
        registry.add(who)
        assert registry.subscribe(subscription(who, "event:1"))
    assert registry.subscribe(subscription(one, "event:2"))
    assert [s.connection for s in registry.subscribers("event:1")] == [one, two]
    assert [s.topic for s in registry.of(one)] == ["event:1", "event:2"]
    assert observed.gauges == {"connections": 2, "subscriptions": 3}
    registry.unsubscribe(one, "event:1")
    assert [s.connection for s in registry.subscribers("event:1")] == [two]
    registry.remove(one)
    registry.remove(two)
    assert observed.gauges == {"connections": 0, "subscriptions": 0}
    assert (registry._by_topic, registry._by_connection, registry._lanes) == ({}, {}, {})


def test_a_subscription_takes_the_place_of_the_one_before() -> None:
    """The same topic twice is one subscription, the newer one."""
    observed = LiveObserved()
    registry = Registry(observed)
    who = connection()
    registry.add(who)
    first, second = subscription(who, "event:1"), subscription(who, "event:1")
    registry.subscribe(first)
    registry.subscribe(second)
    assert list(registry.subscribers("event:1")) == [second]
    assert (first.stands, second.stands) == (False, True)
    assert observed.gauges["subscriptions"] == 1


def test_newcomers_take_the_places_of_those_who_left() -> None:
    """Lanes stay full though many come and go, so that a round is not more of them than it has to be."""
    registry = Registry(LiveObserved())
    everybody = [connection() for _ in range(3 * SIZE)]
    for who in everybody:
        registry.add(who)
        registry.subscribe(subscription(who, "event:1"))
    for who in everybody[::2]:
        registry.remove(who)
    for who in everybody[::2]:
        registry.add(who)
        registry.subscribe(subscription(who, "event:1"))
    assert list(map(len, registry.lanes("event:1"))) == [SIZE] * 3


def test_a_connection_that_has_ended_subscribes_to_nothing() -> None:
    """A subscription whose connection went while it was being prepared does not come to stand."""
    observed = LiveObserved()
    registry = Registry(observed)
    who = connection()
    registry.add(who)
    registry.remove(who)
    assert not registry.subscribe(subscription(who, "event:1"))
    assert list(registry.subscribers("event:1")) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "subscribe", "unsubscribe"]),
            st.integers(0, 3),
            st.sampled_from(TOPICS),
        ),
        max_size=60,
    )
)
def test_any_order_of_changes_keeps_both_sides_equal(steps: list[tuple[str, int, str]]) -> None:
    """Whatever happens in whatever order and however often, both directions and the gauges agree."""
    observed = LiveObserved()
    registry = Registry(observed)
    connections = [connection() for _ in range(4)]
    expected: dict[Connection, set[str]] = {}
    for what, number, topic in steps:
        who = connections[number]
        if what == "add":
            registry.add(who)
            expected.setdefault(who, set())
        elif what == "remove":
            registry.remove(who)
            expected.pop(who, None)
        elif what == "subscribe":
            assert registry.subscribe(subscription(who, topic)) == (who in expected)
            expected.get(who, set()).add(topic)
        else:
            registry.unsubscribe(who, topic)
            expected.get(who, set()).discard(topic)
    for who, topics in expected.items():
        assert {s.topic for s in registry.of(who)} == topics
    for topic in TOPICS:
        assert {s.connection for s in registry.subscribers(topic)} == {w for w, t in expected.items() if topic in t}
        standing = [s for lane in registry.lanes(topic) for s in (*lane.steady, *lane.others)]
        assert {s.connection for s in standing} == {s.connection for s in registry.subscribers(topic)}
        assert len(standing) == len(registry.subscribers(topic))
    assert observed.gauges.get("connections", 0) == len(expected)
    assert observed.gauges.get("subscriptions", 0) == sum(map(len, expected.values()))
