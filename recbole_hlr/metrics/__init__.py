"""What a ranking is measured by."""
