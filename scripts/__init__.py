"""The project's own commands; lab/ is what those in Python are made of."""
