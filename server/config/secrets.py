"""The secrets of the server, read from environment variables and checked."""

import os
import re
import unicodedata
from collections.abc import Mapping

import msgspec

from server.config.auth import MIN_SECRET_CHARACTERS
from server.config.environment import SECRET_VARIABLES
from server.config.settings import ConfigError

SENT_IN_HEADERS = ("BILLING_WEBHOOK_SECRET", "HALFMINUTE_STRIPE_SECRET_KEY", "HALFMINUTE_METRICS_TOKEN")


class Secrets(msgspec.Struct, frozen=True):
    """The secrets, which never appear in a committed file or in a log; None if not set."""

    database_url: str | None = None
    jwt_secret: str | None = None
    billing_webhook_secret: str | None = None
    turn_secret: str | None = None
    stripe_secret_key: str | None = None
    stripe_webhook_secret: str | None = None
    metrics_token: str | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """Read the secrets from environment variables.

    An empty variable counts as not set. Raises ConfigError for a secret that is too short or invalid, and for only one
    of the two secrets of Stripe: without the webhook's secret the server would not learn of payments. The message never
    contains the secret.
    """
    secrets = Secrets(
        **{field: clean_secret(name, environment.get(name, "")) or None for field, name in SECRET_VARIABLES.items()}
    )
    for name, secret in (
        ("HALFMINUTE_JWT_SECRET", secrets.jwt_secret),
        ("BILLING_WEBHOOK_SECRET", secrets.billing_webhook_secret),
        ("HALFMINUTE_STRIPE_WEBHOOK_SECRET", secrets.stripe_webhook_secret),
        ("HALFMINUTE_METRICS_TOKEN", secrets.metrics_token),
    ):
        if secret is not None:
            require_long(name, secret)
    if (secrets.stripe_secret_key is None) != (secrets.stripe_webhook_secret is None):
        raise ConfigError(
            "HALFMINUTE_STRIPE_SECRET_KEY and HALFMINUTE_STRIPE_WEBHOOK_SECRET must be set together:"
            " without the webhook's secret no payment would be credited"
        )
    if secrets.database_url is not None:
        _require_readable(secrets.database_url)
    return secrets


def clean_secret(name: str, text: str) -> str:
    """Return a secret without the white space around it: files and secret stores often add a newline.

    `name` is the variable or the path of the file, for the message. Raises ConfigError for control characters and
    invalid UTF-8, and for a secret of SENT_IN_HEADERS that a header cannot carry.
    """
    secret = text.strip()
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in secret):
        raise ConfigError(f"{name} has a line break or another character in it that is no text")
    if name in SENT_IN_HEADERS and not re.fullmatch(r"[!-~]*", secret):
        raise ConfigError(f"{name} is sent in a header: it may have ASCII letters, digits and signs, without spaces")
    return secret


def require_long(name: str, secret: str) -> None:
    """Raise ConfigError for a secret of less than MIN_SECRET_CHARACTERS; `name` is its variable or file."""
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise ConfigError(f"{name} has {len(secret)} characters; at least {MIN_SECRET_CHARACTERS} are needed")


def _require_readable(database_url: str) -> None:
    """Raise ConfigError for a malformed address, without showing it: it contains a password.

    A password with an unescaped `/` or `@` would otherwise make asyncpg report a part of it as the host.
    """
    scheme, _, rest = database_url.partition("://")
    hosts = re.split("[/?#]", rest)[0].rpartition("@")[2].split(",")
    if scheme not in ("postgresql", "postgres") or not all(_HOST_AND_PORT.fullmatch(host) for host in hosts):
        raise ConfigError(
            "DATABASE_URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE;"
            " in a password, / ? # @ : are written %2F %3F %23 %40 %3A"
        )


_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
