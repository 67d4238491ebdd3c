"""Asking the nodes of a Redis Cluster for many keys at once, over one connection to each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException

from faust_redis.redis.client import Client, execute_all

if TYPE_CHECKING:
    from collections.abc import Mapping


def node_of(client: Client, key: str) -> Any:
    """Return a cluster's node that has a key; None where there is no cluster, and while nobody knows.

    Given as `target_nodes` it spares the client a question to the cluster, for each command whose keys may stand
    anywhere, to a node that may be down.
    """
    if not isinstance(client, RedisCluster):
        return None
    try:
        return client.get_node_from_key(key)
    except RedisClusterException:
        return None


async def ask_nodes(
    client: Client, commands: Mapping[str, tuple[Any, ...]], *, timeout_s: float | None = None
) -> dict[str, Any]:
    """Send a command for each key, and return the replies by key, errors among them.

    A command that waits at the server would take a connection for each key, and there may be hundreds. The nodes are
    asked side by side, and what fails at one of them, or takes longer than `timeout_s`, is an error of its keys alone.
    One server is asked everything at once.
    """
    nodes: dict[Any, dict[str, tuple[Any, ...]]] = {}
    for key, command in commands.items():
        nodes.setdefault(node_of(client, key), {})[key] = command
    # Wait for all of them: replies that arrive late must not go unnoticed.
    answers = await asyncio.gather(
        *(_ask_node(client, node, of_node, timeout_s) for node, of_node in nodes.items()), return_exceptions=True
    )
    replies: dict[str, Any] = {}
    for of_node, answer in zip(nodes.values(), answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
        of_keys = [answer] * len(of_node) if isinstance(answer, Exception) else answer
        replies |= zip(of_node, of_keys, strict=True)
    return replies


async def _ask_node(
    client: Client, node: Any, commands: Mapping[str, tuple[Any, ...]], timeout_s: float | None
) -> list[Any]:
    async with asyncio.timeout(timeout_s):
        return await execute_all(client, commands.values(), raises=False, target_nodes=node)
