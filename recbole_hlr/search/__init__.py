"""Hyper-parameter search: spaces, algorithms, trials on Ray, and what a search leaves."""
