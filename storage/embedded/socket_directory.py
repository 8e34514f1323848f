"""The directory of the private PostgreSQL's Unix socket: mode 0700, and short enough for a socket address.

The data directory itself cannot hold the socket, since its path may be too long.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATH_BYTES_MAX = 107  # of a socket: sun_path without its closing zero
NAME_PREFIX = "halfminute-"


@contextmanager
def private_socket_dir(note: Path, socket_name: str) -> Iterator[Path | None]:
    """Make a directory for one socket, and remove it at the end; None if no parent directory is usable.

    The file `note` holds its path, so that a later guardian can remove the directory after a kill. Its mode of 0700 is
    the only access control of the database. Raises OSError if the note cannot be written.
    """
    directory = _make(note, socket_name)
    try:
        yield directory
    finally:
        remove_noted(note, socket_name)


def remove_noted(note: Path, socket_name: str) -> None:
    """Remove the directory that the note names, if its name and owner are ours and it holds at most the socket.

    The note may be old or edited, so nothing else is removed. Then the note is removed too. Raises OSError.
    """
    with suppress(FileNotFoundError):
        directory = Path(note.read_text())
        if directory.name.startswith(NAME_PREFIX) and not directory.is_symlink():
            _remove(directory, socket_name)
        note.unlink()


def _make(note: Path, socket_name: str) -> Path | None:
    """Write the note and make the directory; None if no parent is writable or the path would be too long."""
    # XDG_RUNTIME_DIR comes second: it vanishes at logout, which a server may outlive.
    parents = "/tmp", os.environ.get("XDG_RUNTIME_DIR")  # noqa: S108 - a random name, and mkdir refuses an existing one
    for parent in filter(None, parents):
        directory = Path(parent) / f"{NAME_PREFIX}{os.urandom(6).hex()}"
        if len(os.fsencode(directory / socket_name)) > PATH_BYTES_MAX:
            continue
        note.write_text(str(directory))  # before mkdir, so that a kill in between leaves no unknown directory
        with suppress(OSError):
            directory.mkdir(mode=0o700)
            return directory
    return None


def _remove(directory: Path, socket_name: str) -> None:
    """Remove a directory of this user with the socket and its lock file; one with other files stays."""
    with suppress(OSError):
        if directory.stat().st_uid == os.geteuid():
            (directory / socket_name).unlink(missing_ok=True)
            (directory / f"{socket_name}.lock").unlink(missing_ok=True)
            directory.rmdir()
