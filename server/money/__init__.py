"""Money flows that are not blocks: payment providers, payouts, tickets, tips, refunds that are due.

Imports `server.config` and `server.observability`.
"""
