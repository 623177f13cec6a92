"""Writes scipy.json: what SciPy says of small samples. Run: python3 known_values.py (SciPy 1.17)."""

import itertools
import json
import pathlib

import numpy
import scipy
from scipy import stats

random = numpy.random.default_rng(20)


def spread(n, kind):
    values = random.normal(0.4, 1, n)
    return {
        "plain": values,
        "ties": numpy.round(values),
        "coarse": numpy.round(values * 2) / 2,
        "skewed": numpy.exp(values) - 1.2,
    }[kind].tolist()


def all_signs(values):
    """Every sign of the differences that are not zero, counted one by one."""
    kept = numpy.array([v for v in values if v != 0])
    ranks = stats.rankdata(abs(kept))
    seen = ranks[kept > 0].sum()
    sums = [ranks[list(signs)].sum() if signs else 0 for k in range(len(kept) + 1)
            for signs in itertools.combinations(range(len(kept)), k)]
    return float(numpy.mean(numpy.array(sums) >= seen - 1e-9))


def signed_rank(values, kind):
    if kind in ("plain", "skewed"):
        return float(stats.wilcoxon(values, alternative="greater", method="exact").pvalue)
    return all_signs(values)


def rank_sum(base, new):
    if len(set(base + new)) == len(base + new):
        return float(stats.mannwhitneyu(new, base, alternative="greater", method="exact").pvalue)
    method = stats.PermutationMethod(n_resamples=10**9)
    return float(stats.mannwhitneyu(new, base, alternative="greater", method=method).pvalue)


kinds = ["plain", "ties", "coarse", "skewed"]
one = []
for n in (1, 2, 5, 6, 8, 10, 12, 20, 30, 50, 80):
    for kind in kinds:
        if n > 12 and kind in ("ties", "coarse"):
            continue
        values = spread(n, kind)
        walsh = sorted((values[i] + values[j]) / 2 for i in range(n) for j in range(i, n))
        one.append({"values": values, "greater": signed_rank(values, kind),
                    "hodges_lehmann": float(numpy.median(walsh))})
big = spread(300, "coarse")
approx = stats.wilcoxon(big, alternative="greater", method="asymptotic", correction=True)
two = []
for m, n in ((1, 1), (3, 3), (5, 1), (5, 5), (6, 4), (7, 3), (10, 10), (20, 20)):
    for kind in kinds:
        if kind in ("ties", "coarse") and not 1 < n <= m < 8:
            continue
        base, new = spread(m, kind), (numpy.array(spread(n, kind)) + 0.5).tolist()
        two.append({"base": base, "new": new, "greater": rank_sum(base, new),
                    "hodges_lehmann": float(numpy.median([b - a for a in base for b in new]))})
base, new = spread(90, "coarse"), spread(70, "coarse")
big_sum = stats.mannwhitneyu(new, base, alternative="greater", method="asymptotic")
t = [{"freedom": f, "at_975": float(stats.t.ppf(0.975, f)), "above_2": float(stats.t.sf(2, f))}
     for f in (1, 2, 4, 9, 19, 100)]
p = [0.001, 0.2, 0.012, 0.04, 0.012, 0.9]
holm = []
least = 0.0
for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
    least = min(1.0, max(least, p[index] * (len(p) - rank)))
    holm.append([index, least])
pathlib.Path(__file__).with_name("scipy.json").write_text(json.dumps({
    "scipy": scipy.__version__, "numpy": numpy.__version__, "one": one, "two": two,
    "big_one": {"values": big, "greater": float(approx.pvalue)},
    "big_two": {"base": base, "new": new, "greater": float(big_sum.pvalue)},
    "t": t, "holm": {"p": p, "adjusted": [v for _, v in sorted(holm)]},
}, indent=None) + "\n")
