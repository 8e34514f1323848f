"""Sessions, which outlive their connections, and what depends on them: room commands, bans, wallet events.

Imports `server.rooms` and what is below it.
"""
