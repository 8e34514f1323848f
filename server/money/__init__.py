"""Money flows other than blocks: payment providers, payouts, tickets, tips, due refunds.

Imports `server.config` and `server.observability`.
"""
