"""Studies, one file each: which runs are put together, and what they say."""
