"""Who is connected, and who subscribed to what."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from telemetry_app.live.clients.lane import SIZE, Lane

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.subscription import Subscription
    from telemetry_app.live.ports import LiveObserver
    from telemetry_app.live.wire.encoding import Form


class Registry:
    """Finds subscriptions by connection and by topic. Every change may be repeated without harm.

    Attributes:
        slow: Connections that do not keep up, which enter themselves.
    """

    def __init__(self, observer: LiveObserver) -> None:
        self._observer = observer
        self._by_connection: dict[Connection, dict[str, Subscription]] = {}
        self._by_topic: dict[str, dict[Connection, Subscription]] = {}
        self._lanes: defaultdict[str, defaultdict[Form, list[Lane]]] = defaultdict(lambda: defaultdict(list))
        self._subscriptions = 0
        self.slow: set[Connection] = set()

    @property
    def connections(self) -> Collection[Connection]:
        """All open connections."""
        return self._by_connection.keys()

    def add(self, connection: Connection) -> None:
        """Add a connection without subscriptions."""
        self._by_connection.setdefault(connection, {})
        self._observer.connections(len(self._by_connection))

    def remove(self, connection: Connection) -> None:
        """Remove a connection and its subscriptions."""
        for topic in list(self._by_connection.get(connection, ())):
            self.unsubscribe(connection, topic)
        self._by_connection.pop(connection, None)
        self.slow.discard(connection)
        self._observer.connections(len(self._by_connection))

    def subscribe(self, subscription: Subscription) -> bool:
        """Add a subscription, replacing one of the same connection and topic.

        Returns:
            Whether it stands: not if its connection has been removed.
        """
        topics = self._by_connection.get(subscription.connection)
        if topics is None:
            return False
        replaced = topics.get(subscription.topic)
        if replaced is None:
            self._subscriptions += 1
        else:
            self._leave(replaced)
        topics[subscription.topic] = subscription
        lanes = self._lanes[subscription.topic][subscription.form]
        lane = next((lane for lane in lanes if len(lane) < SIZE), None)
        if lane is None:
            lane = Lane()
            lanes.append(lane)
        lane.enter(subscription)
        self._by_topic.setdefault(subscription.topic, {})[subscription.connection] = subscription
        self._observer.subscriptions(self._subscriptions)
        return True

    def unsubscribe(self, connection: Connection, topic: str) -> None:
        """Remove a connection's subscription of a topic, if there is one."""
        subscription = self._by_connection.get(connection, {}).pop(topic, None)
        if subscription is None:
            return
        self._leave(subscription)
        subscribers = self._by_topic[topic]
        del subscribers[connection]
        if not subscribers:
            del self._by_topic[topic], self._lanes[topic]
        self._subscriptions -= 1
        self._observer.subscriptions(self._subscriptions)

    def _leave(self, subscription: Subscription) -> None:
        if (lane := subscription.lane) is not None:
            lane.leave(subscription)
            if not len(lane):
                lanes = self._lanes[subscription.topic]
                lanes[subscription.form] = [one for one in lanes[subscription.form] if len(one)]

    def events(self) -> set[str]:
        """Return the ids of the events that somebody watches."""
        return {next(iter(subscriptions.values())).event_id for subscriptions in self._by_topic.values()}

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches any event."""
        return bool(self._by_topic)

    def subscribers(self, topic: str) -> Collection[Subscription]:
        """Return the subscriptions of a topic."""
        return self._by_topic.get(topic, {}).values()

    def lanes(self, topic: str) -> list[Lane]:
        """Return the subscriptions of a topic as they stand together."""
        return [lane for lanes in self._lanes[topic].values() for lane in lanes] if topic in self._lanes else []

    def of(self, connection: Connection) -> Collection[Subscription]:
        """Return the subscriptions of a connection."""
        return self._by_connection.get(connection, {}).values()

    def subscribed(self, connection: Connection, topic: str) -> bool:
        """Tell whether a connection has a topic."""
        return topic in self._by_connection.get(connection, {})

    def __iter__(self) -> Iterator[Subscription]:
        return (subscription for topics in self._by_connection.values() for subscription in topics.values())
