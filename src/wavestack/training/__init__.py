"""One training: corpus x model spec x budget x seed."""
