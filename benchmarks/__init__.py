"""What scripts/demo and scripts/bench are made of; no part of the package."""
