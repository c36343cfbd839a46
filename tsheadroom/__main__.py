"""`python -m tsheadroom`: the same as the command."""

from tsheadroom.cli.main import main

if __name__ == "__main__":
    main(prog_name="tsheadroom")
