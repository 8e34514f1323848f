"""A websocket client on trio that costs little, and how far it has read in each room.

Imports `server.loadtest.measures`.
"""
