"""Blocks, the meter that counts one payer's blocks in one room, and the postings and receipts that move tokens.

Imports `domain.protocol` and the modules of `domain`.
"""
