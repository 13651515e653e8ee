"""`python -m sarcast`."""

import sys

from sarcast.cli import main

sys.exit(main())
