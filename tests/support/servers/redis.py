"""Redis 7, as Debian 12 distributes it, without installing it."""

import re
from pathlib import Path
from typing import Final

from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.support.servers.debian import PackagesUnavailableError, install_once

SUITE: Final = "bookworm"
PACKAGES: Final = ("redis-server",)
#: What only package scripts call, and what starts services.
UNWANTED: Final = re.compile(r"adduser|debconf|init-system-helpers|lsb-base|passwd|perl|sysvinit")

_CACHE = Path(__file__).parents[3] / ".cache" / "redis"


class DebianRedis(EmbeddedValkey):
    """A Redis server of one's own; it understands Valkey's command line."""

    name = "redis-server"

    def _argv(self) -> list[str]:
        prefix = installed()
        folders = sorted({str(found.parent.relative_to(prefix)) for found in prefix.glob("**/*-linux-gnu*/**/*.so*")})
        root = self._home.programs(prefix, ["usr/bin", *folders], version=SUITE)
        libraries = [root / folder for folder in folders]
        # Started by the dynamic linker of the packages, so that the machine's own libraries do not matter.
        linker = next(path for folder in libraries for path in folder.glob("ld-linux*.so.*"))
        _valkey, *options = super()._argv()
        return [
            str(linker), "--library-path", ":".join(map(str, libraries)), str(root / "usr/bin/redis-server"), *options
        ]  # fmt: skip


def installed() -> Path:
    """Return the folder of the unpacked packages, downloading them at first use.

    Raises:
        PackagesUnavailableError: They cannot be had here; says why, and what else would do.
    """
    try:
        return install_once(_CACHE, PACKAGES, of_suite=SUITE, unwanted=UNWANTED, adapt=lambda _unpacked, _final: None)
    except PackagesUnavailableError as error:
        raise PackagesUnavailableError(
            f"Redis 7 for the tests cannot be had from Debian's packages: {error}\n"
            "Set TEST_REDIS_7_URL to a server of your own."
        ) from error
