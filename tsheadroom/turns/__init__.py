"""One hook call, from bytes to bytes."""
