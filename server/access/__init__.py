"""Identity and rate limits: tokens, webhook signatures, TURN passwords, the user cache, limits by address and user.

Imports `server.config`, `server.observability` and the modules below `server/app.py`.
"""
