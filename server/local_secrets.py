"""Secrets for a server that keeps to itself: made once, kept in its data directory, readable by its owner alone."""

import os
import secrets
from pathlib import Path

from server.config import ConfigError, Secrets

_NAMES = ("jwt_secret", "billing_webhook_secret")


def with_local_secrets(given: Secrets, data_dir: Path) -> tuple[Secrets, list[str]]:
    """The given secrets, completed by local ones; and which are local. Raises ConfigError if none can be kept."""
    local = [name for name in _NAMES if getattr(given, name) is None]
    complete = {name: getattr(given, name) or _kept(data_dir / "secrets" / name) for name in _NAMES}
    return Secrets(given.database_url, **complete), local


def _kept(path: Path) -> str:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
        except FileExistsError:
            pass  # made at an earlier start
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"cannot keep secrets in {path.parent}: {error.strerror}") from None
