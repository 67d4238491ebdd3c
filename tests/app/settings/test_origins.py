"""Pages that may connect, as LIVE_ALLOWED_ORIGINS takes them."""

import re

import pytest

from telemetry_app.settings import SettingsError, load_settings

VARIABLE = "LIVE_ALLOWED_ORIGINS"
ORIGINS = [
    ("HTTPS://A.example:443,http://b:80/", ("https://a.example", "http://b")),
    ("capacitor://localhost, ionic://localhost", ("capacitor://localhost", "ionic://localhost")),
    ("app://., NULL", ("app://.", "null")),
    ("https://*.Example.org:443", ("https://*.example.org",)),
    ("http://*.localhost:8080", ("http://*.localhost:8080",)),
    ("https://*.münchen.example", ("https://*.xn--mnchen-3ya.example",)),
    ("http://[0:0::1]:81", ("http://[::1]:81",)),
]
#: Each with what its refusal names.
NO_ORIGINS = {
    "https://maps.example.org/page": "without a path",
    "https://maps.example.org?x": "without a path",
    "maps.example.org": "must have its scheme",
    "wss://maps.example.org": "must be that of the page",
    "file://": "must be null",
    "file:///android_asset/www/index.html": "must be null",
    "file://localhost": "must be null",
    "about:blank": "must be null",
    "https://u:secret@maps.example.org": "without user and password",
    "https://maps.example.org:0": "a port from 1 to 65535",
    "https://maps.example.org:99999": "a port from 1 to 65535",
    "https://maps.example.org:*": "https://*.example.org",
    "https://evil*.example.org": "https://*.example.org",
    "https://*.*.example.org": "https://*.example.org",
    "https://*example.org": "https://*.example.org",
    "http://[::g]": "must have a host name",
    "https://a b.example": "must have a host name",
    "*.example.org": "must have its scheme",
    "https://*": "https://*.example.org",
    "https://a.*.org": "https://*.example.org",
    "app://*.localhost": "https://*.example.org",
}


@pytest.mark.parametrize(("text", "expected"), ORIGINS)
def test_origins(monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[str, ...]) -> None:
    """Origins are taken in whichever spelling, and known as browsers send them."""
    monkeypatch.setenv(VARIABLE, text)
    assert load_settings().live_allowed_origins == expected


@pytest.mark.parametrize(("origin", "named"), NO_ORIGINS.items())
def test_what_is_no_origin_is_named(monkeypatch: pytest.MonkeyPatch, origin: str, named: str) -> None:
    """Of several origins the one that is wrong is named, and what is wrong with it."""
    monkeypatch.setenv(VARIABLE, f"https://ok.example, {origin}")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    said = re.fullmatch(rf"{VARIABLE} is .*, but must name origins of pages, and (.*)\.", str(caught.value))
    assert said is not None
    assert named in said[1]
    assert "ok.example" not in said[1]
    assert "secret" not in str(caught.value)
