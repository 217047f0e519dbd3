"""Training interactions and the triplets drawn from them."""
