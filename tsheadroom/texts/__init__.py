"""The grammar that daemon and child share. Standard library only: it runs in any interpreter."""
