"""`halfminute load`: loads a running server with simulated clients, and counts every delivery.

An independent client: it imports the protocol of `domain`, and nothing of the server but its settings and terminal.
"""
