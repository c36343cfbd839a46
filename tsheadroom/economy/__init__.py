"""What was expected and what was billed; which conversations fit only because of their forms."""
