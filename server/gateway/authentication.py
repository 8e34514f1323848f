"""Authenticates the client of a websocket connection, or closes the connection with the code for the reason."""

from server.access.tokens import Identity, TokenRefused
from server.close_codes import CloseCode, CloseConnection
from server.context import Context
from server.sessions.authenticator import Authenticated, Banned
from storage.database_errors import StatementRefused, StorageUnavailable


async def authenticate(context: Context, token: str) -> Authenticated:
    """Authenticate a user or an overlay by its token.

    Raises CloseConnection: DRAINING while the server drains, UNAUTHENTICATED for a refused token, BANNED for a banned
    user, and STORAGE_AWAY, after which the client reconnects, if the database is away or refuses the statement.
    """
    _refuse_while_draining(context)
    try:
        return await context.authenticator.identify(token)
    except TokenRefused as refused:
        raise CloseConnection(CloseCode.UNAUTHENTICATED, refused.description) from None
    except Banned:
        raise CloseConnection(CloseCode.BANNED, "banned") from None
    except StorageUnavailable:
        raise CloseConnection(CloseCode.STORAGE_AWAY, "the database is away") from None
    except StatementRefused as refused:
        context.faults.note("connection", refused, "identity.refused", {})
        raise CloseConnection(CloseCode.STORAGE_AWAY, "the server could not look up the user; try again") from None


def recheck(context: Context, identity: Identity) -> None:
    """Repeat the checks whose outcome may have changed during an await. Raises CloseConnection: DRAINING, BANNED."""
    _refuse_while_draining(context)
    if context.bans.contains(identity.overlay_of or identity.user_id):
        raise CloseConnection(CloseCode.BANNED, "banned")


def _refuse_while_draining(context: Context) -> None:
    if context.draining:
        raise CloseConnection(CloseCode.DRAINING, "shutting down")
