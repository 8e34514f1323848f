"""Tasks and sockets: carries out what the rules decide.

Imports `domain` and `storage`. `app.py` starts and drains the server; its packages import downwards only, in the
order that `tests/test_imports.py` lists.
"""
