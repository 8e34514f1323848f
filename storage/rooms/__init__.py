"""Rows of calls and streams: creates, stores and reads them, with their blocks, tips, tickets and leases.

Imports `storage.ledger`, `storage.market`, `storage.people` and the modules of `storage`.
"""
