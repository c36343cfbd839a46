"""Attacks the daemon, breaks what it stands on, and checks each answer meanwhile."""
