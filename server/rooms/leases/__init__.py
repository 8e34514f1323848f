"""This server's lease on its rooms, and the adoption of rooms that have lost their server.

Imports `server.rooms`.
"""
