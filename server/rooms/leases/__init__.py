"""This server's lease on its rooms, and the adoption of rooms whose server is gone.

Imports `server.rooms`.
"""
