"""Wallets and the journal: the storage actor, its batch statement, refunds, debts, statements and the audit.

Imports the modules of `storage`. No other package writes wallets.
"""
