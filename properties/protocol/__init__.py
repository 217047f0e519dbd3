"""Options that a protocol sets, for `--protocol`."""
