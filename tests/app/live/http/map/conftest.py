"""For all tests in a real Chromium."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test the time that its own limits may take together: it starts a browser and workers."""
    item.add_marker(pytest.mark.timeout(300))
