"""Live rooms: the lifecycle of a call or stream, its task, committer and supervisor, and the registry of all rooms.

Imports `server.rooms.inbox`, `server.money`, `server.broadcast` and what is below them;
knows sessions only by protocols.
"""
