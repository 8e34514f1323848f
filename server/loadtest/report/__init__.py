"""The result of a load run, on a terminal and as a page.

Imports `server.loadtest`.
"""
