"""Connections to PostgreSQL, for `storage/postgres.py` alone: logins, statements, the pool.

Imports the modules of errors in `storage`. Only these modules use asyncio, and only they and `storage/postgres.py` use
asyncpg.
"""
