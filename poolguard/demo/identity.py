"""Which operating system user the server runs as, and folders that this user can reach.

PostgreSQL refuses to run as root, so root hands it to a user that owns nothing.
"""

import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poolguard.core.errors import SettingsError

UNPRIVILEGED: Final = ("nobody", "postgres")
SOCKET_PATH_BYTES: Final = 103
"""sockaddr_un.sun_path less its NUL on macOS; Linux has four more."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user by number; None in both means: whoever we are."""

    uid: int | None
    gid: int | None

    def give(self, path: Path) -> None:
        """Make *path* this user's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


OURSELVES: Final = Identity(None, None)


def server_identity() -> Identity:
    """Who the server runs as: ourselves, or as root the first user of UNPRIVILEGED that exists."""
    if os.geteuid() != 0:
        return OURSELVES
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_uid, entry.pw_gid)
    raise SettingsError(
        f"PostgreSQL refuses to run as root and there is none of the users {', '.join(UNPRIVILEGED)}",
        hint="run as a user that is not root",
    )


def make_private_folder(identity: Identity, *, longest_socket: str) -> Path:
    """Make an empty folder that only *identity* (and root) can enter, short enough for a Unix socket in it.

    *longest_socket* is the longest socket path below the folder. Raises SettingsError when no place fits.
    """
    tried = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108 - mkdtemp makes it private
    for parent in map(Path, tried):
        if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK) and reachable(parent, identity)):
            continue
        folder = Path(tempfile.mkdtemp(prefix="poolguard-", dir=parent))
        if len(os.fsencode(folder / longest_socket)) <= SOCKET_PATH_BYTES:
            identity.give(folder)
            return folder
        folder.rmdir()
    raise SettingsError(
        f"no folder for PostgreSQL's data: tried {', '.join(tried)}",
        hint="set TMPDIR to a short path in a place that all can enter",
    )


def reachable(path: Path, identity: Identity) -> bool:
    """Whether *identity* may enter every folder on the way to *path*, and *path* itself if it is one."""
    if identity.uid is None:
        return True
    steps = [path.resolve(), *path.resolve().parents]
    return all(_may_enter(step.stat(), identity) for step in steps if step.is_dir())


def _may_enter(entry: os.stat_result, identity: Identity) -> bool:
    if entry.st_uid == identity.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == identity.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def reachable_copy(installation: Path, folder: Path) -> Path:
    """Bring *installation* (the parent of `bin`) below *folder*, for a user that can't enter its place.

    PostgreSQL finds its libraries relative to its own binary, so the copy works. Hard links where possible.
    """
    copy = folder / "installation"
    shutil.copytree(installation, copy, symlinks=True, copy_function=_link_or_copy)
    return copy


def _link_or_copy(source: str, target: str) -> None:
    try:
        # os.link follows no symbolic link on Linux, but does on macOS: say which.
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
