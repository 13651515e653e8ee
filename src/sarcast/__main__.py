"""`python -m sarcast`."""

from sarcast.cli import script

script()
