"""Live rooms: one task a call or stream, its committer, its supervisor and the registry of all.

Imports `server.rooms.inbox`, `server.money`, `server.broadcast` and what is below them; knows no session.
"""
