"""The sections of the page, a file each: its tables, its figures, and how they are put together."""
