"""From a named text to a token file: sources, splits, the overlap audit, tokenizers, tokens."""
