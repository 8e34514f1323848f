"""Payment providers: each makes a checkout and reports what became of it; the service credits the tokens.

Imports `server.config` and `server.observability`.
"""
