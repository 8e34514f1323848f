"""Live rooms: one task for each call or stream, its committer, its supervisor, and the registry of all rooms.

Imports `server.rooms.inbox`, `server.money`, `server.broadcast` and what is below them;
knows sessions only by protocols.
"""
