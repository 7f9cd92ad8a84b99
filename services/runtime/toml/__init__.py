"""Files of dated rules, as people write them."""
