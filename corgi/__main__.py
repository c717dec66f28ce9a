"""`python -m corgi`: the same as the command `corgi`."""

import sys

from corgi.cli import main

sys.exit(main())
