"""The tailnet: this process as a node of its own, and the connections that reach it there.

Nothing is imported here. `tsheadroom status` needs only `statedir`, and must not wait for aiohttp
to be imported.
"""
