"""`python -m bnn` is the command `mtj-bnn`."""

import sys

from bnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
