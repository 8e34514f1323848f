"""Connections to PostgreSQL, for `storage/postgres.py` alone: login, connection tasks, the pool.

Imports the modules of errors in `storage`. Only these modules and `storage/postgres.py` use asyncpg and asyncio.
"""
