"""The bill: what providers charged, and what fits only because of forms."""
