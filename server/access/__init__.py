"""Identity and rate limits: token verification, JWKS, the user cache, limits by address and by user.

Imports `server.config`, `server.observability` and the modules below `server/app.py`.
"""
