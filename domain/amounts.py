"""How large an amount of tokens can be."""

MAX_POSTING_TOKENS = 1_000_000_000  # CONTRACT, head: in one posting
MAX_BALANCE_TOKENS = 2**53 - 1  # CONTRACT, head: what every JSON client can hold
