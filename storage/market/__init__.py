"""Real money in and out: purchases, payments, reversals, payouts, and the business figures.

Imports `storage.people`, `storage.ledger` and the modules of `storage`.
"""
