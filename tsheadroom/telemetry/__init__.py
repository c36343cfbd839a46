"""All that operators see: the series of /metrics, the lines of -v, and logs."""
