"""Every message on the websocket as a msgspec struct: commands from clients, events to them.

Imports the modules of `domain` only.
"""
