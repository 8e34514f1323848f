"""The rules of a call between one fan and one creator: setup, presence, holds, billing and the end.

Imports every other package of `domain` except `domain.stream`.
"""
