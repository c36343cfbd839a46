"""What the scripts beside this package open: bench, demo, simulate. No part of tsheadroom."""
