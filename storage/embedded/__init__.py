"""A private PostgreSQL for a server without a configured database: its cluster, its launcher and its guardian process.

Imports nothing else of `storage`.
"""
