"""Which environment variables are halfminute's: settings, secrets, what Kubernetes adds, and misspelt names."""

import difflib
import re
from collections.abc import Collection, Mapping

PREFIX = "HALFMINUTE_"
OF_THE_TESTS = "HALFMINUTE_TEST_"  # read by the test suite alone, and inherited by the servers that it starts
MIN_LIKENESS = 0.6  # difflib's own default: below it, a name is another word and not a misspelt one

# The variable of each secret, by the field of `Secrets`.
SECRET_VARIABLES = {
    "database_url": "DATABASE_URL",
    "jwt_secret": "HALFMINUTE_JWT_SECRET",
    "billing_webhook_secret": "BILLING_WEBHOOK_SECRET",
    "turn_secret": "HALFMINUTE_TURN_SECRET",
    "stripe_secret_key": "HALFMINUTE_STRIPE_SECRET_KEY",
    "stripe_webhook_secret": "HALFMINUTE_STRIPE_WEBHOOK_SECRET",
    "metrics_token": "HALFMINUTE_METRICS_TOKEN",
}

# Names of settings that have changed, without their section where a file has it above them.
RENAMED = {
    "STREAMS_STAY_SESSIONS": "STREAMS_CONNECTIONS_PER_PAYER",
    "STAY_SESSIONS": "CONNECTIONS_PER_PAYER",
}

# What Kubernetes sets in every container for a service named halfminute or halfminute-SOMETHING. A bare `…_PORT` could
# also be somebody's guess at a setting, so there the value decides: Kubernetes writes an address.
_SERVICE_LINK = re.compile(
    r"HALFMINUTE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PORT = re.compile(r"HALFMINUTE(_[A-Z0-9_]+)?_PORT")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def unknown_variable(environment: Mapping[str, str], known: Collection[str]) -> str | None:
    """The first variable that begins as ours do, in any case, and is neither known nor a Kubernetes service link."""
    for name, value in sorted(environment.items()):
        if not name.upper().startswith(PREFIX) or name.startswith(OF_THE_TESTS) or name in known:
            continue
        if not is_service_link(name, value):
            return name
    return None


def is_service_link(name: str, value: str) -> bool:
    """Whether this is a variable by which Kubernetes tells containers of a service in their namespace."""
    if _SERVICE_LINK.fullmatch(name):
        return True
    return _PORT.fullmatch(name) is not None and _ADDRESS.fullmatch(value) is not None


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that an old one has now, or that is most like this one; None where no name is much like it."""
    # Without the part that all have in common, which would make every name like every other.
    short = {each.removeprefix(PREFIX): each for each in known}
    asked = name.upper().removeprefix(PREFIX)
    found = difflib.get_close_matches(RENAMED.get(asked, asked), short, 1, MIN_LIKENESS)
    return short[found[0]] if found else None
