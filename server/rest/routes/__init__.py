"""The routes, one file for each noun: each declares what it takes, returns and refuses, and implements it.

Imports `server.rest`, its documents, and the services of the server.
"""
