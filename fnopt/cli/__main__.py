"""The command line as ``python -m fnopt.cli``."""

from fnopt.cli import main

if __name__ == "__main__":
    main()
