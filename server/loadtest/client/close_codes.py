"""Close codes as a client reads them, by their ranges (contract.md, Close codes)."""

NORMAL, GOING_AWAY, ABNORMAL_CLOSURE = 1000, 1001, 1006
RECONNECT_CODES = range(4000, 4100)
SERVER_FAULTS = (1011, 1012, 1013)  # internal error, service restart, try again later: sent by proxies


def may_reconnect(code: int | None) -> bool:
    """Return whether a client should reconnect after this close code; None is a broken network.

    Decides by ranges, so that codes that are added later need no change of clients.
    """
    return code in (None, GOING_AWAY, ABNORMAL_CLOSURE, *SERVER_FAULTS) or code in RECONNECT_CODES
