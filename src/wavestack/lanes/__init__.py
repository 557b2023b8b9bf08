"""Lanes: causal views of a sequence, of fixed mathematics or learned."""
