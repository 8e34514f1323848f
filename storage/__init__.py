"""Everything that reads or writes PostgreSQL: stores the decisions of the rules and reads them back.

Imports `domain`. The modules here are shared by the packages: connections, migrations, paging, idempotency keys.
"""
