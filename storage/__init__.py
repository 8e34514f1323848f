"""Postgres, and nothing else: the floor that keeps what the rules decide."""
