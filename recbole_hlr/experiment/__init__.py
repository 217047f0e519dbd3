"""A run from its options to its result, and what is made of its run directory."""
