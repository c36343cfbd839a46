"""`python -m tsheadroom`: the same as the command."""

from tsheadroom.cli import main

if __name__ == "__main__":
    main(prog_name="tsheadroom")
