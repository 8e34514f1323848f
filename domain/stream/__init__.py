"""The rules of a stream: one creator, many viewers, and a viewing session with a meter for each payer.

Imports every other package of `domain` except `domain.call`.
"""
