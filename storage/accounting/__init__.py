"""For accountants: the journal and wallets as text, sums of periods, and balances at a moment in the past.

Imports `storage.ledger` and the modules of `storage`.
"""
