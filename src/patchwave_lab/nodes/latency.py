"""How long things take: distributions, drawn from a fixed seed."""

import random
from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Distribution:
    """Seconds: `constant` (value), `uniform` (from, to) or `lognormal` (median, sigma of the logarithm)."""

    kind: str
    first: float
    second: float = 0.0

    def draw(self, source: random.Random) -> float:
        """One value; never below zero."""
        if self.kind == "uniform":
            return source.uniform(self.first, self.second)
        if self.kind == "lognormal":
            return source.lognormvariate(log(self.first), self.second)
        return self.first


@dataclass(frozen=True)
class Answer:
    """What a virtual node prints, and for which share of the nodes (0 to 1)."""

    stdout: str = 'PATCHWAVE1 {"changed":true,"outcome":"patched"}\n'
    stderr: str = ""
    exit_code: int = 0
    share: float = 1.0


@dataclass(frozen=True)
class Model:
    """How virtual nodes answer: the way there, the run, the way back. The same seed gives the same times."""

    delivery: Distribution = Distribution("uniform", 0.05, 0.5)
    run: Distribution = Distribution("lognormal", 1.0, 0.5)
    reply: Distribution = Distribution("uniform", 0.05, 0.5)
    #: Tried in order; nodes beyond all shares get the default answer.
    answers: tuple[Answer, ...] = ()
    seed: int = 1

    def source(self, node_id: str, ordinal: int) -> random.Random:
        """The chance of one node's nth task (0: of the node itself), whatever else happens before it."""
        return random.Random(f"{self.seed}/{node_id}/{ordinal}")

    def answer(self, node_id: str) -> Answer:
        """The answer of one node: a node is good or bad for its whole life."""
        place = self.source(node_id, 0).random()
        for each in self.answers:
            if place < each.share:
                return each
            place -= each.share
        return Answer()
