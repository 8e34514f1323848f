"""The messages of the websocket as msgspec structs: commands from clients, events to them.

The served AsyncAPI document is generated from these structs and their docstrings.
Imports the modules of `domain` only.
"""
