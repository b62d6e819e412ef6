"""Go or no-go: everything about a sale that is looked at before it opens, one module for each kind of thing."""
