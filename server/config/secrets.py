"""The secrets of the server, read from environment variables and checked."""

import os
import re
import unicodedata
from collections.abc import Mapping

import msgspec

from server.config.auth import MIN_SECRET_CHARACTERS
from server.config.broker_addresses import read_broker_addresses
from server.config.environment import FILE_SUFFIX, SECRET_VARIABLES
from server.config.settings import ConfigError

MAX_SECRET_BYTES = 4096  # of a file that holds one secret
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
    nats_url: str | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"


def read_secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """Read the secrets from environment variables, or from the files that NAME_FILE names, as containers mount them.

    An empty variable counts as not set; an empty file is an error. Raises ConfigError for a secret with both variables,
    or whose file cannot be read, for a secret that is too short or invalid, and for only one
    of the two secrets of Stripe: without the webhook's secret the server would not learn of payments. The message never
    contains the secret.
    """
    secrets = Secrets(**{field: _secret_of(name, environment) for field, name in SECRET_VARIABLES.items()})
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
    if secrets.nats_url is not None:
        _require_broker(secrets.nats_url)
    return secrets


def _secret_of(name: str, environment: Mapping[str, str]) -> str | None:
    in_file = f"{name}{FILE_SUFFIX}"
    path = environment.get(in_file, "").strip()
    if not path:
        return clean_secret(name, environment.get(name, "")) or None
    if environment.get(name, "").strip():
        raise ConfigError(f"{name} and {in_file} are both set: remove one of them")
    return clean_secret(name, _read_file(in_file, path))


def _read_file(name: str, path: str) -> str:
    """Read the file of a secret. It may belong to root and be open to others, as secrets of a container are."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a FIFO would wait
        with open(descriptor, "rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1) or b""
    except OSError as error:
        raise ConfigError(f"{name} names {path}, which cannot be read: {error.strerror}") from None
    if not 0 < len(content.strip()) <= len(content) <= MAX_SECRET_BYTES:
        raise ConfigError(f"{name} names {path}, which has no secret of 1 to {MAX_SECRET_BYTES} bytes")
    return content.decode(errors="surrogateescape")


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


def _require_broker(urls: str) -> None:
    """Raise ConfigError for a malformed address of a broker, without showing it: it contains a password."""
    try:
        read_broker_addresses(urls)
    except ValueError:
        raise ConfigError(
            "HALFMINUTE_NATS_URL is not nats://USER:PASSWORD@HOST:PORT or tls://…, or several of them after commas;"
            " in a password, / ? # @ : are written %2F %3F %23 %40 %3A"
        ) from None


_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
