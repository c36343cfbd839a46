"""Which conversation a request continues, and what was forwarded of it. No sockets, no asyncio."""
