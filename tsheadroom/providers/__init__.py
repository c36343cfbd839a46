"""What differs by provider: body shapes and prices."""
