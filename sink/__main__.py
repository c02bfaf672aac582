"""Runs the command: python -m sink."""

import sys

from sink.cli import main

if __name__ == "__main__":
    sys.exit(main())
