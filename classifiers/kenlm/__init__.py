"""KenLM: n-gram models trained here or from elsewhere, and the perplexity of pages under them."""
