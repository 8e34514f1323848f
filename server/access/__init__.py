"""Identity and rate limits: tokens, JWKS, webhook signatures, the user cache, limits by address and by user.

Imports `server.config`, `server.observability` and the modules below `server/app.py`.
"""
