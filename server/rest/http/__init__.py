"""HTTP/1.1 connections and the Quart app, below the routes: limits, bodies, the address of a client.

Imports `server.gateway` and what is below it.
"""
