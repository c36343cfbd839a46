"""What the scripts beside this package open: demo, bench. No part of tsheadroom."""
