"""The plan of a load run, its counts and its result.

Imports nothing else of `server.loadtest`.
"""
