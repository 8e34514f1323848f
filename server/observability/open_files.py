"""The limit of open files: raised as far as the system allows, and held against what the settings may need."""

import resource

import msgspec

from server.config.settings import ConfigError, Settings

# Beside connections and the pool: logs, listening sockets, event loops, pipes, the lease's and listener's database
# connections, fetches of keys and the payment provider's connections.
OTHER_FILES = 128
FEWEST_CONNECTIONS = 10


def raise_limit() -> int:
    """Raise the soft limit to the hard one; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems have a lower limit of their own than the hard one they name
        return soft
    return hard


def fit(settings: Settings, limit: int) -> tuple[Settings, str | None]:
    """The settings with as many websocket connections as the limit leaves room for; a line if they are fewer.

    Raises ConfigError where hardly any would be left.
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
