"""Where an embedded server lives: its data, its log, and programs that its account can reach."""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from telemetry_app.tools.embedded.process import Account, EmbeddedServerError

_PROGRAM_FOLDER = "programs"


def can_enter(folder: Path, account: Account | None) -> bool:
    """Tell whether `account` (None: ourselves) may pass through `folder` and everything above it."""
    if account is None:
        return os.access(folder, os.X_OK)
    resolved = folder.resolve()
    return all(_may_search(path.stat(), account) for path in (resolved, *resolved.parents))


def _may_search(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def enterable_temp_folder(account: Account | None) -> Path:
    """Return a folder for temporary files that `account` may pass through.

    Raises:
        EmbeddedServerError: There is none.
    """
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - see `owned_folder`
    for folder in candidates:
        if folder.is_dir() and can_enter(folder, account):
            return folder
    raise EmbeddedServerError(
        f"None of {', '.join(map(str, candidates))} can be entered by the user as which the servers run."
    )


def owned_folder(folder: Path) -> Path:
    """Make `folder`, open for passing through and ours alone to write.

    Raises:
        EmbeddedServerError: Somebody else has put something in its place.
    """
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise EmbeddedServerError(f"{folder} belongs to another user: remove it.")
    folder.chmod(0o711)
    return folder


class ServerHome:
    """The folders of one server.

    The log is in the folder that was asked for. Data and programs are there too, unless we are root and the
    server's account cannot get there (a folder below /root, say): then they are in a temporary folder
    whose name follows from the one asked for, so that a restart finds its data again.
    """

    def __init__(self, folder: Path, account: Account | None) -> None:
        self._asked = folder.absolute()
        self._account = account

    @property
    def log_path(self) -> Path:
        """The file that takes the server's output."""
        return self._asked / "server.log"

    @property
    def data(self) -> Path:
        """The folder that the server's account owns."""
        return self._base / "data"

    @property
    def _base(self) -> Path:
        if can_enter(self._asked.parent, self._account):
            return self._asked
        name = hashlib.sha256(os.fsencode(self._asked.resolve())).hexdigest()[:16]
        return enterable_temp_folder(self._account) / f"telemetry-{name}"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            EmbeddedServerError: They cannot be made.
        """
        try:
            self._asked.mkdir(parents=True, exist_ok=True)
            if self._account is not None:
                owned_folder(self._base)
            self.data.mkdir(mode=0o700, exist_ok=True)
            if self._account is not None:
                os.chown(self.data, self._account.uid, self._account.gid)
        except OSError as error:
            raise EmbeddedServerError(f"The data folder {self._asked} cannot be used: {error}.") from error

    def wipe(self) -> None:
        """Delete the server's data, keep the rest."""
        shutil.rmtree(self.data)
        self.prepare()

    def remove(self) -> None:
        """Delete everything: data, log, programs."""
        base = self._base
        for folder in (base, self._asked):
            if folder.exists():
                shutil.rmtree(folder)

    def programs(self, root: Path, parts: Iterable[str], *, version: str) -> Path:
        """Return a folder with the `parts` (relative paths) of `root` that the server's account can use.

        That is `root` itself where possible, else a copy.
        """
        parts = list(parts)
        folders = [path if path.is_dir() else path.parent for path in (root / part for part in parts)]
        if all(can_enter(folder, self._account) for folder in folders):
            return root
        copy = self._base / f"{_PROGRAM_FOLDER}-{version}"
        if not copy.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=copy.name, dir=self._base))
            for part in parts:
                _copy_part(root / part, unfinished / part)
            _open_to_all(unfinished)
            unfinished.rename(copy)
        return copy


def _copy_part(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _open_to_all(folder: Path) -> None:
    """Let everybody read and run what its owner may: the source may come from a strict umask."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            owner = stat.S_IMODE(path.stat().st_mode) & 0o500
            path.chmod(path.stat().st_mode | owner >> 3 | owner >> 6)
