"""Data set configurations, as YAML: columns, thresholds, k-core, split."""
