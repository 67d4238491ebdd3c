"""A Chromium for the tests: the machine's own, else Debian's package, unpacked and run without a window system."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers.debian import PackagesUnavailableError, install_once, suite

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
# What only package scripts, desktops and X servers call, and the C library: of the same suite as the machine's own.
UNWANTED = re.compile(r"adduser|dbus|debconf|dpkg|fontconfig$|libc6$|perl|shared-mime-info|systemd|x11-|xdg-utils")

# No sandbox: it refuses root, and user namespaces that a container may not make. The rest: WebGL2 without a graphics
# card, and no request that the page has not made.
ARGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

_CACHE = Path(__file__).parents[3] / ".cache" / "chromium"
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{prefix}/usr/share/fonts</dir>
  <cachedir>{prefix}/var/cache/fontconfig</cachedir>
</fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """A browser that can be started: its program, and the variables that it needs on top of the test's own."""

    executable: Path
    env: Mapping[str, str] = field(default_factory=dict)


def chromium() -> Chromium:
    """Return the machine's Chromium, or where there is none the unpacked one.

    Raises:
        PackagesUnavailableError: Neither can be had; says why, and what would do.
    """
    if found := shutil.which("chromium"):
        return Chromium(Path(found))
    return unpacked_chromium()


def unpacked_chromium() -> Chromium:
    """Return Debian's Chromium, downloaded at first use; needs no root.

    Raises:
        PackagesUnavailableError: It cannot be had here; says why, and what else would do.
    """
    try:
        prefix = install_once(_CACHE, PACKAGES, of_suite=suite(), unwanted=UNWANTED, adapt=_adapt)
        return Chromium(prefix / "usr/lib/chromium/chromium-headless-shell", _environment(prefix))
    except PackagesUnavailableError as error:
        raise PackagesUnavailableError(
            f"Chromium for the tests cannot be had from Debian's packages: {error}\n"
            "Install a chromium that is found on the PATH."
        ) from error


def _adapt(unpacked: Path, final: Path) -> None:
    """Let fontconfig look for its files at `final`, not in the machine's /usr/share and /etc."""
    (unpacked / "etc/fonts/fonts.conf").write_text(_FONTS.format(prefix=final))


def _environment(prefix: Path) -> dict[str, str]:
    # The browser's processes inherit the variables, so that the program itself needs no change.
    folders = {library.parent for library in prefix.glob("**/*-linux-gnu*/**/lib*.so*")}
    return {
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in sorted(folders)),
        "FONTCONFIG_FILE": str(prefix / "etc/fonts/fonts.conf"),
    }
