"""The REST surface: the table of routes, dispatch, requests and responses.

Imports `server.rest.http`, `server.gateway` and what is below it. The only package that imports Quart and hypercorn.
"""
