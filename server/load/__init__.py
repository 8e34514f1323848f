"""Puts a running server under load as its clients would, and counts every delivery."""
