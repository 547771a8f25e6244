"""What pages are cut into, beyond words and lines: marks, repeated stretches, phrases, other people's words."""
