"""What an option may be, where its value may stand, and the files that ship defaults."""
