"""The ICE servers of clients: STUN servers, and TURN servers with a password for each user.

Media goes from client to client (WebRTC), or through a TURN server where a network forbids that. This server only
passes signals on and hands out these addresses.
"""

import base64
import hashlib
import hmac
from typing import Any

from domain.ids import UserId
from server.clock import Clock
from server.config.settings import MediaSettings


class IceServers:
    """Builds the list of ICE servers for a user; a TURN password is valid for `turn_seconds` and names its user."""

    def __init__(self, settings: MediaSettings, secret: str | None, clock: Clock) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock

    def of(self, user_id: UserId) -> list[dict[str, Any]]:
        """The servers as `RTCPeerConnection` takes them: maps with `urls`, and for TURN `username` and `credential`.

        Without a TURN secret the TURN servers are left out, since they would refuse a client without a password.
        """
        servers: list[dict[str, Any]] = []
        if self._settings.stun_servers:
            servers.append({"urls": list(self._settings.stun_servers)})
        if self._settings.turn_servers and self._secret is not None:
            servers.append({"urls": list(self._settings.turn_servers), **self._password(user_id, self._secret)})
        return servers

    def _password(self, user_id: UserId, secret: str) -> dict[str, str]:
        """Credentials by the TURN REST API (draft-uberti-behave-turn-rest-00) of coturn, which prescribes SHA-1."""
        expires_at = self._clock.now() // 1_000_000 + int(self._settings.turn_seconds)
        username = f"{expires_at}:{user_id}"
        digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
        return {"username": username, "credential": base64.b64encode(digest).decode()}
