"""The steps of one hook call, from its bytes to the bytes of the answer. No HTTP."""
