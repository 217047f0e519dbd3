"""What a fitted run is asked for: the best items of users, the items nearest to an item, tables and files."""
