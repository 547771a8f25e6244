"""The same rules as other code bases read them, one group a module; their columns carry the peer's name."""
