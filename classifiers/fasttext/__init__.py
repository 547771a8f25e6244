"""fastText: files checked, models trained so that they repeat, pages scored."""
