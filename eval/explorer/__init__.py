"""A page that shows, without a server, what any threshold keeps."""
