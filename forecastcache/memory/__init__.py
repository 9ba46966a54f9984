"""What a cache costs in bytes: planned from shapes, measured as it stands."""
