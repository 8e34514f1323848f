"""The limit of open files: raises it, and reduces the websocket connections to it.

Without a free descriptor the server could not accept, could not reconnect to its database, and could not open its log.
"""

import resource

import msgspec

from server.config.settings import ConfigError, Settings

# Beyond connections and the pool: logs, listening sockets, event loops, pipes, the database connections of the lease
# and the listener, fetches of keys, and connections to the payment provider.
OTHER_FILES = 128
FEWEST_CONNECTIONS = 10


def raise_limit() -> int:
    """Raise the soft limit to the hard one, and return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems enforce a lower limit than the reported hard one
        return soft
    return hard


def fit(settings: Settings, limit: int) -> tuple[Settings, str | None]:
    """Reduce the websocket connections of the settings to the limit of open files, so that all others fit as well.

    Returns the settings, and a line for the user if they were reduced. Raises ConfigError if less than
    FEWEST_CONNECTIONS would be left.
    """
    others = settings.http.connections + settings.postgres.pool_size + OTHER_FILES
    needed = settings.websocket.connections + others
    if limit == resource.RLIM_INFINITY or needed <= limit:
        return settings, None
    connections = limit - others
    why = f"the settings need {needed} open files and the limit is {limit} (ulimit -Hn, LimitNOFILE=)"
    if connections < FEWEST_CONNECTIONS:
        raise ConfigError(f"{why}: raise it, or lower http.connections ({settings.http.connections})")
    websocket = msgspec.structs.replace(settings.websocket, connections=connections)
    return msgspec.structs.replace(settings, websocket=websocket), f"{why}: websocket.connections is {connections}"
