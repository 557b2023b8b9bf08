"""Lanes: fixed mathematical views of a sequence, all causal and of constant state."""
