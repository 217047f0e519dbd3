"""The hosts and the machine: what exists only because of RecBole, Ray, the compiler or the C library."""
