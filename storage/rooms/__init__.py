"""Rows of calls and streams: making, adopting and reading them, their blocks, tips and tickets, and their leases.

Imports `storage.ledger` and the modules of `storage`.
"""
