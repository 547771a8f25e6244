"""The page that says what happened: facts gathered, worked out once, drawn and written."""
