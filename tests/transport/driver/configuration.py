"""A Faust configuration as text: `python -m tests.transport.driver.configuration MODULE` prints that of its `app`."""

import json
import re
import sys
from collections.abc import Mapping
from importlib import import_module

from faust.types.settings import Settings

#: What differs from run to run: addresses of objects, and the random part of the topic for replies.
_RANDOM = re.compile(r" at 0x[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shown(conf: Settings) -> Mapping[str, str]:
    """Return every setting as text, and what Faust makes of them."""
    values = {name: getattr(conf, f"_{name}") for name in Settings.SETTINGS}
    derived = ("id", "appdir", "tabledir", "datadir", "broker_consumer", "broker_producer", "canonical_url")
    values |= {f"derived {name}": getattr(conf, name) for name in derived}
    return {name: _RANDOM.sub("", repr(value)) for name, value in values.items()}


if __name__ == "__main__":
    json.dump(shown(import_module(sys.argv[1]).app.conf), sys.stdout)
