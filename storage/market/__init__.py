"""Money from outside and back: purchases, payments, reversals, payouts, and the business figures.

Imports `storage.ledger` and the modules of `storage`.
"""
