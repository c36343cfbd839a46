"""Replays recorded conversations and says what they would cost: `tsheadroom simulate`.

Nothing here runs in the daemon. The daemon's own parts run here, in this process and without
sockets, and what they would forward is priced by the providers' rules and held against what the
client sent.
"""
