"""The desk's pages about what shoppers did: orders, exports, the report, and what is checked before a sale opens."""
