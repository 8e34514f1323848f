"""The REST surface: quart-trio blueprints, a file a noun; the only place that knows Quart and hypercorn."""
