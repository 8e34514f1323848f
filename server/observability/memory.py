"""When Python looks for reference cycles: often among what is new, seldom among everything."""

import gc

# A look costs about 0.5 us an object: these keep one below some 20 ms. One through everything takes 0.3 s beside 1,000
# calls, in which no block could be posted, and finds next to nothing: what connections, rooms and requests leave
# behind is young, or has no cycles.
NEW_OBJECTS = 5_000
NEW_LOOKS = 2
NEVER = 2**31 - 1


def settle_memory() -> None:
    """Once the house stands: what it is made of stays, and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, NEW_LOOKS, NEVER)


def tidy_memory() -> None:
    """A look through everything, for a moment in which nobody waits for a block."""
    gc.collect()
