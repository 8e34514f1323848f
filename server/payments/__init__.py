"""Payment providers: each makes a checkout, and tells what became of it."""
