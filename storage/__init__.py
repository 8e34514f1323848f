"""PostgreSQL, and nothing else: stores what the rules decide.

Imports `domain`. The modules here are shared by the packages: connections, migrations, paging, idempotency keys.
"""
