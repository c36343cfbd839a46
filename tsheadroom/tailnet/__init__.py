"""The tailnet: this process as a node of its own, and the connections that reach it there.

Nothing is imported here: `tsheadroom status` needs `statedir` alone, and is not to load aiohttp.
"""
