"""`python -m bnn.cli` is the command `mtj-bnn`, as `python -m bnn` is."""

import sys

from bnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
