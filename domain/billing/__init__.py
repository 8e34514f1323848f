"""The billing rules: blocks, the meter of one payer in one room, and the postings and receipts that move tokens.

Imports `domain.protocol` and the modules of `domain`.
"""
