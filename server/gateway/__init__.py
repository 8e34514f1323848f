"""The websocket port: listener, handshake, one connection, and the protocol between client and server.

Imports `server.sessions` and what is below it. The only package that serves websockets with trio-websocket and wsproto;
`frame_reader.py` lists what it relies on in them.
"""
