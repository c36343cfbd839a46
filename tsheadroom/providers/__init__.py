"""What differs by provider: body shapes, prices, and how its prompt cache works."""
