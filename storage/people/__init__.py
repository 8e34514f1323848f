"""Users and creators, bans, reports, overlay tokens, and what operators did.

Imports the modules of `storage`.
"""
