"""Messages between the servers of one database: the bus, and requests to one server. No money moves here.

May import `server.config`, `server.observability` and the modules below `server/app.py`.
"""
