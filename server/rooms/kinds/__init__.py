"""What differs between calls and streams in the life of a room: one adapter each for `server.rooms.lifecycle`.

Imports `server.rooms`, `server.money` and what is below them.
"""
