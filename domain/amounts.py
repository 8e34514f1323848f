"""The limits of amounts of tokens. One token is the smallest unit; all amounts are whole numbers."""

MAX_POSTING_TOKENS = 1_000_000_000  # contract.md, Values: the most that one posting moves
MAX_BALANCE_TOKENS = 2**53 - 1  # contract.md, Values: the largest integer that every JSON client keeps exactly
