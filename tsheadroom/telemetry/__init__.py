"""All that operators see: series, lines, logs."""
