"""Changes that concern connected users: balances, names, blocks. Tells the sessions and rooms of all servers of them.

Imports `server.sessions` and what is below it.
"""
