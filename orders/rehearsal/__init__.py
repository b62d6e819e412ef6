"""A sale rehearsed: a hidden copy of it, test shoppers on the real path, and nothing left behind."""
