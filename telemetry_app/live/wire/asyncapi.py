"""The protocol as an AsyncAPI 3.0 document, generated from the frames.

`python -m telemetry_app.live.wire.asyncapi > docs/asyncapi.json` writes it anew.
"""

from __future__ import annotations

import json
import sys
from inspect import cleandoc
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from telemetry_app.live.wire import protocol

_REQUESTS: Final = (protocol.Subscribe, protocol.Unsubscribe)
_ANSWERS: Final = (
    protocol.Subscribed,
    protocol.Entries,
    protocol.Unsubscribed,
    protocol.Error,
    protocol.PositionFrame,
    protocol.PositionsFrame,
    protocol.Removed,
)
_REFS: Final = "#/components/schemas/{name}"
#: What msgspec has no schema for.
_FOREIGN: Final[dict[type, dict[str, Any]]] = {msgspec.Raw: {"description": "The `id` of the request"}}
_CLOSE_CODES: Final = {
    protocol.CloseCode.SHUTDOWN: "the server stops: connect again, to another worker",
    protocol.CloseCode.FRAME_TOO_LARGE: "a frame was larger than 4 KiB, as it came or inflated",
    protocol.CloseCode.SESSION_ENDED: "the session has ended: sign in again",
    protocol.CloseCode.SLOW_CLIENT: "the client did not read for too long",
    protocol.CloseCode.TOO_MANY_REQUESTS: "the client sent too many frames",
}
_DESCRIPTION: Final = """\
Live positions of the devices of events, as text frames of one JSON object each.

The upgrade may be refused with a JSON object of `code` and `message`: 401 `no-session`, `session-ended` (sign in again)
or `session-mode` (a login without Directus' session cookie), 403 `origin` (a foreign page), 431 `headers-too-large`
(a header above 16 KB), with Retry-After 429 `address-limit` or `user-limit` (as many connections as one may have)
and 503 `full`, `starting` or `unavailable` (the session cannot be checked). Browsers hide the answer: a GET of the same
address gives it again.

A subscription begins with a snapshot; then every new position is a frame, or, with `batch`, those that are sent
together are one, compressed for those who offer `permessage-deflate`. Each frame's `cursor` is good for resuming its
own topic, on any worker: with it as `since` a client is given the newest position of each device that moved meanwhile.
Cursors are opaque. Of a device's positions the one that comes last is where it is: a client goes by the order of
frames, and of positions within one, not by their `ts`, which is what the tracker's clock said. A frame that is none of
these is answered with the error `bad-request`.

Close codes: """


def document() -> dict[str, Any]:
    """Return the document as JSON values."""
    messages = [*(model.__name__ for model in _REQUESTS), *(model.__name__ for model in _ANSWERS)]
    codes = ", ".join(f"{code.value} {meaning}" for code, meaning in _CLOSE_CODES.items())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Live positions",
            "version": "1.0.0",
            "description": f"{_DESCRIPTION}{codes}.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/live",
                "title": "The WebSocket",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "request": _operation("receive", "What a client asks for", _REQUESTS),
            "answer": _operation("send", "What a client is sent", _ANSWERS),
        },
        "components": {"messages": {name: _message(name) for name in messages}, "schemas": _schemas()},
    }


def _operation(action: str, summary: str, models: tuple[type, ...]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{model.__name__}"} for model in models],
    }


def _message(name: str) -> dict[str, Any]:
    model = getattr(protocol, name)
    return {
        "name": name,
        "summary": " ".join((model.__doc__ or "").split()),
        "payload": {"$ref": _REFS.format(name=name)},
    }


def _schemas() -> dict[str, Any]:
    _, requests = TypeAdapter.json_schemas(
        [(model, "validation", TypeAdapter(model)) for model in _REQUESTS],
        ref_template=_REFS.replace("{name}", "{model}"),
    )
    _, answers = msgspec.json.schema_components(_ANSWERS, schema_hook=_FOREIGN.__getitem__, ref_template=_REFS)
    # msgspec takes docstrings as they are: indented until Python 3.12.
    described = {name: answer | {"description": cleandoc(answer["description"])} for name, answer in answers.items()}
    return {**requests["$defs"], **described}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2)
    sys.stdout.write("\n")
