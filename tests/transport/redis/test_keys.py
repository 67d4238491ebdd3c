"""The names of keys."""

from hypothesis import given, strategies as st
from redis.crc import key_slot

from faust_redis.redis import keys


@given(st.text(st.characters(exclude_characters="{}", codec="utf-8"), min_size=1), st.integers(1, 64))
def test_keys_of_a_partition_share_a_slot(topic: str, partitions: int) -> None:
    """The stream of a partition and everything derived from it lie in one slot of a Redis Cluster."""
    stream = keys.partition_stream(topic, partitions - 1, partitions)
    all_keys = [stream, keys.lease(stream, "g"), keys.state(stream, "g", "t"), keys.dead_letters(stream)]
    assert len({key_slot(key.encode()) for key in all_keys}) == 1
    assert len(set(all_keys)) == 4


def test_one_partition_is_the_stream_of_the_topic() -> None:
    """A topic with one partition is read from the stream of its name, else from `name:p`."""
    assert keys.partition_stream("telemetry:teltonika", 0, 1) == "telemetry:teltonika"
    assert [keys.partition_stream("t", p, 2) for p in range(2)] == ["t:0", "t:1"]
