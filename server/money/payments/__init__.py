"""Payment providers make checkouts and report payments; the service credits the tokens.

Imports `server.access`, `server.config` and `server.observability`.
"""
