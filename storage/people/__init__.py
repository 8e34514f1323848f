"""Users and creators, bans, reports, overlay tokens, and the log of operators' actions.

Imports the modules of `storage`.
"""
