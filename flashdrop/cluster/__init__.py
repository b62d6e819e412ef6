"""A whole installation behind nginx on loopback: a tool of the project. The product never imports it."""
