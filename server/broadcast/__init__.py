"""From an event to bytes on many connections: codec, send queue, history, fan-out, replies.

Imports `server.observability`. Knows nothing of rooms or sessions.
"""
