"""The adapters of `server.rooms.lifecycle`, one a kind: the differences between calls and streams.

Imports `server.rooms`, `server.money` and what is below them.
"""
