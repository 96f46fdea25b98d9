"""Figures: what was measured, beside what, and what it should come to.

Two things measured in turns are each represented by the edge of their better
quarter of rounds: whatever else the machine does can only make a round worse.
"""

import dataclasses
from statistics import median, quantiles


def amount(value, unit, sign=""):
    """With three or four digits that mean something. sign "+": also where it is positive."""
    if abs(value) >= 1000:
        text = f"{value:{sign},.0f}".replace(",", " ")
    elif abs(value) >= 100:
        text = f"{value:{sign}.0f}"
    else:
        text = f"{value:{sign}.3g}"
    return f"{text} {unit}".rstrip()


@dataclasses.dataclass
class Row:
    figure: str
    goal: str
    beside: str
    here: str
    result: str
    spread: str
    verdict: str


def _verdict(good):
    return "ok" if good else "not"


def _quartiles(values):
    """(lower, upper) quartile."""
    cuts = quantiles(values, n=4, method="inclusive")
    return cuts[0], cuts[2]


class Ratio:
    """Measured in pairs of (reference, ours); the result is ours / reference.

    at_least, where more is better, or at_most, where less is: the bound of the result; neither: less, shown only.
    """

    def __init__(self, name, reference, pairs, unit, *, at_least=None, at_most=None):
        self.name, self.reference, self.pairs, self.unit = name, reference, pairs, unit
        self.at_least, self.at_most = at_least, at_most

    def row(self):
        more_is_better = self.at_least is not None
        beside, here = (_quartiles(side)[more_is_better] for side in zip(*self.pairs))
        low, high = _quartiles([ours / reference for reference, ours in self.pairs])
        values = [amount(beside, self.unit), amount(here, self.unit), f"{here / beside:.2f}", f"{low:.2f} .. {high:.2f}"]
        if self.at_least is None and self.at_most is None:
            return Row(self.name, f"(beside {self.reference})", *values, "")
        goal = f">= {self.at_least}" if more_is_better else f"<= {self.at_most}"
        good = here / beside >= self.at_least if more_is_better else here / beside <= self.at_most
        return Row(self.name, f"{goal} of {self.reference}", *values, _verdict(good))


class Extra:
    """Measured in pairs of (reference, ours), where less is better; the result is how much more ours is."""

    def __init__(self, name, reference, pairs, unit, *, at_most):
        self.name, self.reference, self.pairs, self.unit, self.at_most = name, reference, pairs, unit, at_most

    def row(self):
        beside, here = (_quartiles(side)[0] for side in zip(*self.pairs))
        low, high = _quartiles([ours - reference for reference, ours in self.pairs])
        return Row(self.name, f"<= {amount(self.at_most, self.unit)} over {self.reference}",
                   amount(beside, self.unit), amount(here, self.unit), amount(here - beside, self.unit, "+"),
                   f"{amount(low, '', '+')} .. {amount(high, '', '+')}", _verdict(here - beside <= self.at_most))


class Absolute:
    """Measured alone; the result is the median, as a part of the bound.

    at_least, where more is better, or at_most, where less is; neither: shown only.
    """

    def __init__(self, name, values, unit, *, at_least=None, at_most=None):
        self.name, self.values, self.unit, self.at_least, self.at_most = name, values, unit, at_least, at_most

    def row(self):
        here = median(self.values)
        bound = self.at_most if self.at_least is None else self.at_least
        if bound is None:
            return Row(self.name, "", "", amount(here, self.unit), "", "", "")
        goal = f"{'<=' if self.at_least is None else '>='} {amount(bound, self.unit)}"
        good = here <= bound if self.at_least is None else here >= bound
        return Row(self.name, goal, "", amount(here, self.unit), f"{here / bound:.2f}" if bound else "", "",
                   _verdict(good))


def table(figures):
    """One line for each figure, under a heading."""
    rows = [Row("figure", "goal", "beside", "here", "result", "middle half", "")] + [f.row() for f in figures]
    cells = [dataclasses.astuple(row) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    left = (0, 1)  # words; the others are numbers
    lines = ["  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in cells]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
