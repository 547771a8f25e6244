"""Crawl files in, pages out: nothing here knows Spark."""
