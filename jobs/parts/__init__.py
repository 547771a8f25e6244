"""What every verb shares: the experiment file, the part loop, its tables and where they lie."""
