"""The signals in our own reading, one group a module."""
