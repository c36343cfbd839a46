"""What runs in a worker process: nothing here needs more than Headroom and the standard library."""
