"""The routes, a file a noun: each declares what it takes and returns, and answers it.

Imports `server.rest`, its documents, and the services of the server.
"""
