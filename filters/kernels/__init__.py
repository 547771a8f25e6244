"""Compiled passes over the UTF-8 bytes of a page batch, and the tables they index."""
