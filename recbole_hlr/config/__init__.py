"""RecBole's configuration, with every option known, checked and traced to its source."""
