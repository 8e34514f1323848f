"""Generated secrets of a server with a private database, in files of its data directory that only its owner reads.

They let `halfminute serve` start without any configuration. With the JWT secret anybody can sign tokens for all users,
so a file that somebody else could have written or read is refused rather than repaired.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from server.config.secrets import MAX_SECRET_BYTES, Secrets, clean_secret, require_long
from server.config.settings import ConfigError

_NAMES = ("jwt_secret", "billing_webhook_secret")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def with_local_secrets(configured: Secrets, data_dir: Path) -> tuple[Secrets, list[str]]:
    """Complete the configured secrets by those in `data_dir`, and generate missing ones.

    Secrets from the environment take precedence, and the file of such a secret is neither read nor made. Only the JWT
    secret and the billing webhook's secret are generated; the others belong to services outside.
    Returns the secrets and the names of those that were generated. Raises ConfigError if they cannot be stored, or if
    another user could have written one. Blocks; called before the event loop starts.
    """
    missing = [name for name in _NAMES if getattr(configured, name) is None]
    generated, local = list[str](), dict[str, str]()
    directory = data_dir / "secrets"
    try:
        for name in missing:
            if _make(directory / name):
                generated.append(name)
            local[name] = read_secret_file(directory / name)
    except OSError as error:
        raise ConfigError(f"cannot keep secrets in {directory}: {error.strerror}") from None
    return msgspec.structs.replace(configured, **local), generated


def read_secret_file(path: Path) -> str:
    """Read the secret in a file.

    Raises OSError, and ConfigError for a secret that is too short, is not text, or that another user could have written
    or can read: with the secret, anybody can sign tokens for all users.
    """
    with _directory_of(path) as directory:
        content = _read(path, directory)
    secret = clean_secret(str(path), content.decode(errors="surrogateescape"))
    require_long(str(path), secret)
    return secret


def _read(path: Path, directory: int) -> bytes:
    """Check and read one open file, so that it cannot be replaced between the check and the read."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path, "is a symbolic link") from None
        raise
    try:
        _check_file(path, os.fstat(descriptor))
        content = os.read(descriptor, MAX_SECRET_BYTES + 1)  # one read suffices: a regular file returns all that it has
    finally:
        os.close(descriptor)
    if len(content) > MAX_SECRET_BYTES:
        raise _refused(path, f"has more than {MAX_SECRET_BYTES} bytes")
    return content


def _check_file(path: Path, found: os.stat_result) -> None:
    """Raise ConfigError for a file that another user could have written or can read, under any of its names."""
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "is no regular file")
    if found.st_uid != os.geteuid():
        raise _refused(path, "belongs to another user")
    if found.st_mode & _OTHERS:
        raise _refused(path, f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})")
    if found.st_nlink != 1:
        raise _refused(path, "has another name elsewhere (a hard link)")


@contextmanager
def _directory_of(path: Path) -> Iterator[int]:
    """Open the directory of a secret. Raises OSError, and ConfigError if another user owns it or may write to it."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.parent.is_symlink():
            raise _refused(path, "is in a directory that is a symbolic link") from None
        raise error from None
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise _refused(path, "is in a directory of another user")
        if found.st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(found.st_mode)
            raise _refused(path, f"is in a directory that other users may write (mode {mode:04o})")
        yield descriptor
    finally:
        os.close(descriptor)


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} {why}, so its secret is not used: correct that, or remove it for a new one")


def _make(path: Path) -> bool:
    """Generate a secret in a file; return False if the file exists already.

    The file is complete or absent even after a crash. Of two processes at once, one creates it.
    """
    if os.path.lexists(path):
        return False
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = f"{path.name}.{secrets.token_hex(6)}"
    with _directory_of(path) as directory:
        fcntl.flock(
            directory, fcntl.LOCK_EX
        )  # held for milliseconds; a rename alone would replace the secret of another process
        if os.path.lexists(path):
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
            os.rename(unfinished, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(unfinished, dir_fd=directory)
            raise
    return True
