"""The environment variables of halfminute: names of secrets, detection of misspelt and of Kubernetes' names.

A misspelt variable would silently leave a setting at its default, so an unknown one stops the start.
"""

import difflib
import re
from collections.abc import Collection, Mapping

PREFIX = "HALFMINUTE_"
OF_THE_TESTS = "HALFMINUTE_TEST_"  # read by the test suite alone; the servers that it starts inherit them
MIN_LIKENESS = 0.6  # difflib's default: a name below it is another word rather than a misspelt one

# The variable of each secret, by the field of `Secrets`.
SECRET_VARIABLES = {
    "database_url": "DATABASE_URL",
    "jwt_secret": "HALFMINUTE_JWT_SECRET",
    "billing_webhook_secret": "BILLING_WEBHOOK_SECRET",
    "turn_secret": "HALFMINUTE_TURN_SECRET",
    "stripe_secret_key": "HALFMINUTE_STRIPE_SECRET_KEY",
    "stripe_webhook_secret": "HALFMINUTE_STRIPE_WEBHOOK_SECRET",
    "metrics_token": "HALFMINUTE_METRICS_TOKEN",
    "nats_url": "HALFMINUTE_NATS_URL",
}

FILE_SUFFIX = "_FILE"  # NAME_FILE is the path of a file that holds the secret NAME

# Renamed settings, with their section (environment) and without it (file).
RENAMED = {
    "STREAMS_STAY_SESSIONS": "STREAMS_CONNECTIONS_PER_PAYER",
    "STAY_SESSIONS": "CONNECTIONS_PER_PAYER",
}

# Kubernetes sets these in every container for a service named halfminute or halfminute-SOMETHING. A bare `…_PORT` could
# also be a misspelt setting, so its value decides: Kubernetes writes an address.
_SERVICE_LINK = re.compile(
    r"HALFMINUTE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PORT = re.compile(r"HALFMINUTE(_[A-Z0-9_]+)?_PORT")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def unknown_variable(environment: Mapping[str, str], known: Collection[str]) -> str | None:
    """Return the first variable with our prefix, in any case, that is neither known nor a Kubernetes service link.

    Variables are looked at in alphabetical order, so the same environment always names the same one.
    """
    for name, value in sorted(environment.items()):
        if not name.upper().startswith(PREFIX) or name.startswith(OF_THE_TESTS) or name in known:
            continue
        if not is_service_link(name, value):
            return name
    return None


def is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes sets this variable to describe a service of the namespace (`enableServiceLinks`)."""
    if _SERVICE_LINK.fullmatch(name):
        return True
    return _PORT.fullmatch(name) is not None and _ADDRESS.fullmatch(value) is not None


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the new name of a renamed variable or key, or the most similar known name.

    `known` are names in upper case, with or without the prefix. Returns None if none is similar enough.
    """
    # Compare without the common prefix, which would make all names similar.
    short = {each.removeprefix(PREFIX): each for each in known}
    asked = name.upper().removeprefix(PREFIX)
    found = difflib.get_close_matches(RENAMED.get(asked, asked), short, 1, MIN_LIKENESS)
    return short[found[0]] if found else None
