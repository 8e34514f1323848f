"""The REST surface: a file a noun; the only place that knows Quart and hypercorn."""
