"""HTTP, and nothing else: the hook, and the pages beside it."""
