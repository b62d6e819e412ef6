"""The fault suite: real processes, a storm of shoppers, one fault in the middle, and an audit from outside.

`python -m flashdrop.faults` runs it (`make faults`). A tool of the project; the product never imports it.
docs/explanation/reliability.md tells what it does and what it found.
"""
