"""Lets `python -m recbole_hlr` stand for `recbole-hlr`."""

import sys

from recbole_hlr.cli import main

sys.exit(main())
