from typing import Any

from hypothesis import given, strategies as st

from telemetry_app.live.delivery.agenda import Agenda

TIMES = st.integers(0, 20)


@given(st.lists(TIMES), TIMES)
def test_due(times: list[int], now: int) -> None:
    """Everything that is due by a time comes then, in order, and once; what comes again later comes later."""
    agenda = Agenda()
    # An agenda knows nothing of what stands in it.
    items: list[Any] = list(enumerate(times))
    for item in items:
        agenda.put(item, item[1])
    due = [item for item in items if item[1] <= now]
    came: list[Any] = []
    for item in agenda.due(now):
        came.append(item)
        agenda.put(item, now + 1)
    assert came == sorted(due, key=lambda item: item[1])
    assert list(agenda.due(now)) == []
    later: list[Any] = list(agenda.due(21))
    assert sorted(later) == items
