"""Programs out of Debian packages of any suite, unpacked into a folder instead of installed."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RUN_TIMEOUT_S = 300
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# A line of `apt-get --print-uris`: 'http://…/libx1_1.0-1_amd64.deb' libx1_1.0-1_amd64.deb 1234 SHA256:…
_LISTED_PACKAGE = re.compile(r"^'\S+' ([^_\s]+)_\S+\.deb ", re.MULTILINE)


class PackagesUnavailableError(RuntimeError):
    """The packages cannot be had on this machine; the message says why."""


def run(command: Sequence[str | Path], *, cwd: Path | None = None) -> str:
    """Run a program and return its output.

    Raises:
        PackagesUnavailableError: It is missing, failed, or took too long.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackagesUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise PackagesUnavailableError(f"{command[0]} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def suite() -> str:
    """Return the codename of the Debian that this machine runs.

    Raises:
        PackagesUnavailableError: It runs something else.
    """
    codename = _os_release("VERSION_CODENAME")
    if _os_release("ID") != "debian" or not codename:
        raise PackagesUnavailableError("this machine is not a Debian")
    return codename


def mirror() -> str:
    """Return the address of the Debian mirror that this machine is set up with.

    Raises:
        PackagesUnavailableError: The machine is not a Debian, or knows no mirror.
    """
    codename = suite()
    layout = "$(RELEASE) $(REPO_URI)"
    for line in run(["apt-get", "indextargets", "--format", layout, "Created-By: Packages"]).splitlines():
        release, address = line.split(" ", 1)
        if release == codename:
            return address
    raise PackagesUnavailableError(f"apt knows no mirror of Debian {codename}")


def _os_release(name: str) -> str:
    match = re.search(rf'^{name}="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.MULTILINE)
    return match[1] if match else ""


class PrivateApt:
    """An apt with a state of its own below `folder`, which sees one suite and an empty machine.

    So it names every dependency down to the C library, leaves the machine's own apt alone, and needs no root.
    """

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        self._suite = suite

    def download(self, packages: Sequence[str], *, unwanted: re.Pattern[str]) -> list[Path]:
        """Download `packages` and what they depend on, and return the package files.

        Args:
            packages: Names.
            unwanted: Names that are left out, with all that only they depend on.

        Raises:
            PackagesUnavailableError: The mirror does not answer or has no such package.
        """
        self._prepare()
        self._apt("update")
        self._pretend_installed(name for name in self._needed(packages) if unwanted.match(name))
        target = self._folder / "packages"
        target.mkdir(exist_ok=True)
        self._apt("download", *self._needed(packages), cwd=target)
        return sorted(target.glob("*.deb"))

    def _prepare(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        self._pretend_installed([])
        source = f"deb [signed-by={_KEYRING}] {mirror()} {self._suite} main\n"
        (self._folder / "sources.list").write_text(source)

    def _needed(self, packages: Sequence[str]) -> list[str]:
        listed = self._apt("install", "--yes", "--print-uris", *packages)
        return sorted(set(_LISTED_PACKAGE.findall(listed)))

    def _pretend_installed(self, names: Iterable[str]) -> None:
        architecture = run(["dpkg", "--print-architecture"]).strip()
        stanza = f"Status: install ok installed\nArchitecture: {architecture}\nVersion: 99:0\n"
        (self._folder / "status").write_text("\n".join(f"Package: {name}\n{stanza}" for name in names))

    def _apt(self, *arguments: str, cwd: Path | None = None) -> str:
        settings = {
            "Dir::State": self._folder / "state",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Log": self._folder,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return run(["apt-get", "--quiet", *options, *arguments], cwd=cwd)


def unpack(packages: Iterable[Path], prefix: Path) -> None:
    """Unpack package files below `prefix`, without running any of their scripts."""
    prefix.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda package: run(["dpkg-deb", "--extract", package, prefix]), packages))


def install_once(
    folder: Path,
    packages: Sequence[str],
    *,
    of_suite: str,
    unwanted: re.Pattern[str],
    adapt: Callable[[Path, Path], None],
) -> Path:
    """Return the prefix below `folder` with these packages unpacked; the first call downloads them.

    Processes that ask at the same time wait for the first of them. What is incomplete never has the prefix's name.

    Args:
        folder: Holds one prefix for each such choice of packages.
        packages: Names; what they depend on comes with them.
        of_suite: Codename of the Debian they are taken from.
        unwanted: See `PrivateApt.download`.
        adapt: Given the unpacked files and the prefix that they will be renamed to, makes them run from there.

    Raises:
        PackagesUnavailableError: They cannot be had here.
    """
    recipe = f"{folder} {of_suite} {packages} {unwanted.pattern}"
    prefix = folder / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if prefix.exists():
            return prefix
        work = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
        try:
            unpacked = work / "prefix"
            unpack(PrivateApt(work / "apt", of_suite).download(packages, unwanted=unwanted), unpacked)
            adapt(unpacked, prefix)
            unpacked.chmod(0o755)
            unpacked.rename(prefix)
        finally:
            shutil.rmtree(work)
    return prefix


def bind_programs(programs: Iterable[Path], libraries: Path, *, final_libraries: Path) -> None:
    """Let `programs` run on the C library and the other libraries of one folder, not the machine's.

    DT_RPATH, unlike DT_RUNPATH, also counts for the libraries of libraries and for plugins, so that nothing but
    the programs themselves needs a change.

    Args:
        programs: Executables, changed in place.
        libraries: Folder of the unpacked libraries, dynamic linker included.
        final_libraries: Where that folder will be when the programs run.

    Raises:
        PackagesUnavailableError: There is no dynamic linker, or patchelf fails.
    """
    linkers = [path.name for path in sorted(libraries.glob("ld-linux*.so.*"))]
    if not linkers:
        raise PackagesUnavailableError(f"no dynamic linker in {libraries}")
    patchelf = Path(sys.executable).parent / "patchelf"
    change: list[str | Path] = [
        "--force-rpath",
        "--set-rpath",
        final_libraries,
        "--set-interpreter",
        final_libraries / linkers[0],
    ]
    for program in programs:
        run([patchelf, *change, program])
