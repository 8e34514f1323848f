"""The command `halfminute` and its subcommands.

The top of the server: may import everything, and nothing imports it.
"""
