"""`halfminute load`: puts a running server under load as its clients would, and counts every delivery.

An independent client: imports the protocol of `domain`, and nothing of the server but its settings and terminal.
"""
