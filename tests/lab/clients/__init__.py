"""The harness of real clients, without the clients."""
