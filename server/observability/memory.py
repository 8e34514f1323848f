"""Garbage collection: often among new objects, and among all objects only when asked for.

CPython's cycle collector stops the event loop while it runs. Most objects are freed by their reference count; it is
needed only for cycles.
"""

import gc

# A collection costs about 0.5 us for each object: these thresholds keep it below 20 ms. A full one takes 0.3 s with
# 1,000 calls, in which no block can be posted, and finds almost nothing: the garbage of connections, rooms and requests
# is young or has no cycles.
NEW_OBJECTS = 5_000
YOUNG_COLLECTIONS = 2
NEVER = 2**31 - 1


def freeze_objects() -> None:
    """After the start: exclude all present objects from collection, and set the thresholds.

    Modules, settings and routes live as long as the process, so looking at them again and again would find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, YOUNG_COLLECTIONS, NEVER)


def collect_garbage() -> None:
    """Run a full collection; only for a moment in which no block is due. Blocks the event loop, for up to 0.3 s."""
    gc.collect()
