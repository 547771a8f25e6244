"""Copies told apart from originals: the arithmetic of exact, near and line duplicates and of contamination."""
