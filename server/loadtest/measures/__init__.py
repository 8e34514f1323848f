"""What a load run is asked to do, and what it counts while it goes on.

Imports nothing else of `server.loadtest`.
"""
