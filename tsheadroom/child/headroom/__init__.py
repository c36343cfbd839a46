"""Every use of Headroom."""
