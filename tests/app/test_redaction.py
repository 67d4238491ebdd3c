"""Passwords in what is shown."""

import pytest

from telemetry_app.redaction import redact_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:secret@h:1/0", "redis://user:***@h:1/0"),
        ("redis://:secret@h", "redis://:***@h"),
        ("postgresql://u:se@c/r@e:t@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=secret&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("redis+sentinel://h/m?sentinel_password=secret&db=1", "redis+sentinel://h/m?sentinel_password=***&db=1"),
        ("could not reach redis://u:secret@h and gave up", "could not reach redis://u:***@h and gave up"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("at 12:30 a@b", "at 12:30 a@b"),
    ],
)
def test_redact_url(text: str, expected: str) -> None:
    """Passwords of URLs anywhere in a text are masked, and nothing else is."""
    assert redact_url(text) == expected
