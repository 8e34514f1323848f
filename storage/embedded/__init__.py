"""A private PostgreSQL for a server without a configured database: its cluster, launcher and guardian process.

Imports nothing else of `storage`.
"""
