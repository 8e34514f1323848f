"""HTTP/1.1 connections below the routes: limits, bodies, the address of a client.

Imports `server.gateway` and what is below it.
"""
