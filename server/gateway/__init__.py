"""The websocket port: listener, handshake, one connection, and the protocol between client and server.

Imports `server.sessions` and what is below it. The only package that imports trio-websocket.
"""
