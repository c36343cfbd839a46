"""HTTP: the hook, and the pages beside it."""
