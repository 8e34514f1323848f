"""Sessions that outlive their connections, and what users do in rooms: commands, bans, wallet events.

Imports `server.rooms` and what is below it.
"""
