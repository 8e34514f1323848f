"""Secrets for a server that keeps to itself: made once, kept in its data directory, readable by its owner alone."""

import os
import secrets
from pathlib import Path

import msgspec

from server.config import ConfigError, Secrets, clean_secret, require_long

_NAMES = ("jwt_secret", "billing_webhook_secret")


def with_local_secrets(given: Secrets, data_dir: Path) -> tuple[Secrets, list[str]]:
    """The given secrets, completed by local ones, and which of these were made just now.

    Raises ConfigError if none can be kept.
    """
    missing = [name for name in _NAMES if getattr(given, name) is None]
    directory = data_dir / "secrets"
    try:
        made = [name for name in missing if _make(directory / name)]
        local = {name: read_secret_file(directory / name) for name in missing}
    except OSError as error:
        raise ConfigError(f"cannot keep secrets in {directory}: {error.strerror}") from None
    return msgspec.structs.replace(given, **local), made


def read_secret_file(path: Path) -> str:
    """The secret that a file holds. Raises OSError, and ConfigError for one that is too short or is no text."""
    secret = clean_secret(str(path), path.read_text(encoding="utf-8", errors="surrogateescape"))
    require_long(str(path), secret)
    return secret


def _make(path: Path) -> bool:
    """False if it is there already. Made whole or not at all, whatever is killed when; of two who make it one wins."""
    if path.exists():
        return False
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink()
    return True
