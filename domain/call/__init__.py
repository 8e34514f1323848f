"""The rules of a call between one fan and one creator: set up, held, billed and ended.

Imports every other package of `domain` except `domain.stream`.
"""
