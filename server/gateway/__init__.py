"""The websocket port: listener, handshake, one connection, and the protocol spoken over it.

Imports `server.sessions` and what is below it. The only package that imports trio-websocket.
"""
