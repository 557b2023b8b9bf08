"""What each lane is worth, from the losses of all subsets of the lanes.

The worth of a subset is the nats a token that it saves over no lane at all. A lane's Shapley value is what it adds to that when lanes join
in a random order, on average over all orders (Shapley 1953):

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

The values of all lanes add up to the worth of all of them together, a lane that adds nothing has zero, and two that do the same share
what either would have. The interaction of a pair (Grabisch and Roubens 1999) is above zero where two lanes are worth more together than
apart, below where one repeats the other:

    I_ij = sum over S without i, j of |S|! (n - |S| - 2)! / (n - 1)! (v(S + i + j) - v(S + i) - v(S + j) + v(S))

Of two that do the same each has a Shapley value, and either could be left out: what leaving a lane out of all of them loses, v(all) minus
v(all but i), says whether it can.

All are weighted sums of the losses, so they are had for each seed and document, and their intervals are those of any difference.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from math import factorial

Subset = frozenset[str]
Weights = Mapping[Subset, float]  # of the losses of subsets


def subsets(lanes: Iterable[str]) -> Iterator[Subset]:
    """All of them, smallest first."""
    lanes = list(lanes)
    return (frozenset(chosen) for size in range(len(lanes) + 1) for chosen in combinations(lanes, size))


def shapley_weights(lanes: Iterable[str], lane: str) -> Weights:
    """What to weigh each subset's loss with to get a lane's Shapley value, above zero where the lane lowers the loss."""
    lanes = list(lanes)  # in whose order all sums are: that of a set is another in each process
    weights: dict[Subset, float] = {}
    for others in subsets(each for each in lanes if each != lane):
        share = factorial(len(others)) * factorial(len(lanes) - len(others) - 1) / factorial(len(lanes))
        weights[others] = share
        weights[others | {lane}] = -share
    return weights


def removal_weights(lanes: Iterable[str], lane: str) -> Weights:
    """What to weigh each subset's loss with to get what the others lose without a lane, above zero where the loss is higher then."""
    everything = frozenset(lanes)
    return {everything - {lane}: 1.0, everything: -1.0}


def interaction_weights(lanes: Iterable[str], first: str, second: str) -> Weights:
    """What to weigh each subset's loss with to get the interaction of a pair, above zero where it saves more together than apart."""
    lanes = list(lanes)
    weights: dict[Subset, float] = {}
    for others in subsets(each for each in lanes if each not in (first, second)):
        share = factorial(len(others)) * factorial(len(lanes) - len(others) - 2) / factorial(len(lanes) - 1)
        weights[others] = -share
        weights[others | {first}] = weights[others | {second}] = share
        weights[others | {first, second}] = -share
    return weights
