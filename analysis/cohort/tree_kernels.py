"""The compiled inner loops of the cohort's trees: growing, pruning, explaining, holding out.

One kind of tree serves all targets: splits by the log-rank statistic. A yes/no label is a follow-up with one time, at which
positives have the event and which negatives outlive. Then the log-rank statistic orders splits as the Gini gain does (both
grow with (ad - bc)^2 / (n1 n2) of the two-by-two table), the total hazard of a leaf is its part of positives, and Harrell's C
is the area under the ROC curve.

All of them stand in this file: numba's cache does not notice that a compiled function of another file has changed.
"""

from __future__ import annotations

import numpy as np

from analysis.cohort.tree_arrays import (
    MISSING,
    Bools,
    Features,
    Floats,
    Folds8,
    HeldOut,
    Ints,
    Outcome,
    Plan,
    Tree,
    compiled,
)


@compiled
def _tally(outcome: Outcome, rows: Ints) -> tuple[Floats, Floats]:
    """Rows at risk and events at each time, both (t,)."""
    at_risk, events = np.zeros(outcome.times), np.zeros(outcome.times)
    for row in rows:
        for time in range(outcome.seen[row]):
            at_risk[time] += 1
        if outcome.event[row]:
            events[outcome.seen[row] - 1] += 1
    return at_risk, events


@compiled
def _logrank(left: Floats, observed: float, part: Floats, spread: Floats, at_risk: Floats) -> float:
    """(O - E)^2 / V of the rows on the left. left: (t+1,) how many of them are at risk at exactly so many times."""
    expected, variance, below = 0.0, 0.0, 0.0
    for time in range(part.size - 1, -1, -1):
        below += left[time + 1]
        expected += below * part[time]
        variance += below * (at_risk[time] - below) * spread[time]
    return (observed - expected) ** 2 / variance if variance > 1e-12 else 0.0


@compiled
def _cut(features: Features, feature: int, last: int, following: int) -> int:
    """The last bin at or below the middle between two neighbouring bins that hold training rows."""
    middle = (features.highest[feature, last] + features.lowest[feature, following]) / 2
    while last + 1 < following and features.highest[feature, last + 1] <= middle:
        last += 1
    return last


@compiled
def _best_split(
    features: Features, outcome: Outcome, rows: Ints, order: Ints, min_leaf: int
) -> tuple[int, int, bool, float]:
    """Feature, last bin on the left, whether missing values go left, and log-rank statistic; feature -1 where there is no split."""
    all_at_risk, all_events = _tally(outcome, rows)
    place = np.zeros(outcome.times + 1, np.int64)  # the same times without those that have no event in this node
    for time in range(outcome.times):
        place[time + 1] = place[time] + (all_events[time] > 0)
    at_risk, events = all_at_risk[all_events > 0], all_events[all_events > 0]
    part = events / at_risk
    spread = part * (at_risk - events) / at_risk / np.maximum(at_risk - 1, 1)
    bins = features.lowest.shape[1]
    counts, happened, filled = np.zeros((bins + 1, part.size + 1)), np.zeros(bins + 1), np.zeros(bins + 1, np.int64)
    best = (-1, 0, False, 1e-9)
    for feature in order:
        counts[:], happened[:], filled[:] = 0, 0, 0
        for row in rows:
            code = min(np.int64(features.codes[feature, row]), bins)
            counts[code, place[outcome.seen[row]]] += 1
            happened[code] += outcome.event[row]
            filled[code] += 1
        for missing_left in range(2 if filled[bins] else 1):
            left, observed, size, last = np.zeros(part.size + 1), 0.0, 0, -1
            if missing_left:
                left, observed, size = counts[bins].copy(), happened[bins], filled[bins]
            for code in range(bins + 1):
                if code < bins and filled[code] == 0:
                    continue
                if code == bins and (missing_left or filled[bins] == 0):
                    continue
                if last >= 0 and size >= min_leaf and rows.size - size >= min_leaf:
                    score = _logrank(left, observed, part, spread, at_risk)
                    if score > best[3] * (1 + 1e-9):
                        cut = _cut(features, feature, last, code) if code < bins else bins - 1
                        goes = missing_left == 1 if filled[bins] else size > rows.size - size
                        best = (feature, cut, goes, score)
                left += counts[code]
                observed += happened[code]
                size += filled[code]
                last = code
    return best


@compiled
def _describe(tree: Tree, outcome: Outcome, node: int, rows: Ints, total: int) -> None:
    """Fills in what a node predicts and what it costs."""
    at_risk, events = _tally(outcome, rows)
    hazard, value = 0.0, 0.0
    for time in range(outcome.times):
        if events[time] > 0:
            hazard += events[time] / at_risk[time]
        if tree.hazard[time + 1] > tree.hazard[time]:
            value += hazard
    happened, expected = events.sum(), tree.hazard[outcome.seen[rows]].sum()
    tree.rows[node], tree.value[node] = rows.size, value
    tree.rate[node] = (happened + 1) / (expected + 1)
    if outcome.label:
        tree.cost[node] = 2 * value * (1 - value) * rows.size / total
    elif happened > 0:
        tree.cost[node] = -happened * np.log(happened / expected) / total


@compiled
def grow(features: Features, outcome: Outcome, training: Bools, order: Ints, limits: tuple[int, int]) -> Tree:
    """A tree of the training rows, unpruned, with the penalty at which each of its nodes becomes a leaf.

    limits: largest depth, fewest rows of a leaf. order: (p,) of equally good splits the first in this order is taken.
    """
    depth, min_leaf = limits
    nodes = 2 ** (depth + 1) - 1
    rows = np.flatnonzero(training)
    at_risk, events = _tally(outcome, rows)
    hazard = np.zeros(outcome.times + 1)
    hazard[1:] = np.cumsum(events / np.maximum(at_risk, 1))
    tree = Tree(
        np.full(nodes, -1),
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.bool_),
        np.zeros(nodes, np.int64),
        np.zeros(nodes),
        np.zeros(nodes),
        np.zeros(nodes),
        np.full(nodes, np.inf),
        hazard,
    )
    where = np.where(training, 0, -1)
    for node in range(nodes):
        here = np.flatnonzero(where == node)
        if here.size == 0:
            continue
        _describe(tree, outcome, node, here, rows.size)
        if 2 * node + 2 >= nodes or here.size < 2 * min_leaf:
            continue
        split = _best_split(features, outcome, here, order, min_leaf)
        tree.feature[node], tree.cut[node], tree.missing_left[node] = split[0], split[1], split[2]
        if split[0] >= 0:
            for row in here:
                where[row] = 2 * node + (1 if _goes_left(tree, features, node, row) else 2)
    _weigh_links(tree)
    return tree


@compiled
def _goes_left(tree: Tree, features: Features, node: int, row: int) -> bool:
    code = features.codes[tree.feature[node], row]
    return tree.missing_left[node] if code == MISSING else code <= tree.cut[node]


@compiled
def _weigh_links(tree: Tree) -> None:
    """Weakest-link pruning (Breiman et al. 1984): the penalty per leaf from which on each inner node is better a leaf."""
    nodes = tree.feature.size
    alive = tree.feature >= 0
    cost, leaves, penalty = np.empty(nodes), np.empty(nodes), 0.0
    while alive[0]:
        weakest, lowest = 0, np.inf
        for node in range(nodes - 1, -1, -1):
            cost[node], leaves[node] = tree.cost[node], 1.0
            if alive[node]:
                cost[node] = cost[2 * node + 1] + cost[2 * node + 2]
                leaves[node] = leaves[2 * node + 1] + leaves[2 * node + 2]
                gain = (tree.cost[node] - cost[node]) / (leaves[node] - 1)
                if gain <= lowest:
                    weakest, lowest = node, gain
        penalty = max(penalty, lowest)
        fallen = np.zeros(nodes, np.bool_)
        fallen[weakest] = True
        for node in range(weakest, nodes):
            fallen[node] |= node > 0 and fallen[(node - 1) // 2]
            if fallen[node] and alive[node]:
                alive[node], tree.link[node] = False, penalty


@compiled
def reach(tree: Tree, features: Features, row: int, penalty: float) -> int:
    """The node at which a row ends in the tree that is pruned with this penalty per leaf."""
    node = 0
    while tree.feature[node] >= 0 and tree.link[node] > penalty:
        node = 2 * node + (1 if _goes_left(tree, features, node, row) else 2)
    return node


@compiled
def _loss(tree: Tree, outcome: Outcome, node: int, row: int) -> float:
    """Of a held-out row: squared error of a label; else minus the log-likelihood of its time, proportional hazards."""
    happened = 1.0 if outcome.event[row] else 0.0
    if outcome.label:
        return (happened - tree.value[node]) ** 2
    return tree.rate[node] * tree.hazard[outcome.seen[row]] - happened * np.log(tree.rate[node])


@compiled
def choose_penalty(features: Features, outcome: Outcome, tree: Tree, inner: Folds8, order: Ints, limits: tuple[int, int]) -> float:
    """The penalty that loses least in the inner folds; of equal ones the largest, so the smallest tree.

    Candidates: the geometric middle of each interval in which the pruned tree stays the same (Breiman et al. 1984, 3.4.2).
    """
    links = np.unique(tree.link[tree.feature >= 0])
    penalties, losses = np.zeros(links.size + 1), np.zeros(links.size + 1)
    penalties[1:-1] = np.sqrt(links[:-1] * links[1:])
    penalties[-1] = np.inf
    if links.size == 0:
        return np.inf
    for fold in range(inner.max() + 1):
        if not (inner == fold).any():
            continue
        part = grow(features, outcome, (inner >= 0) & (inner != fold), order, limits)
        for row in np.flatnonzero(inner == fold):
            for k in range(penalties.size):
                losses[k] += _loss(part, outcome, reach(part, features, row, penalties[k]), row)
    best = penalties.size - 1
    for k in range(penalties.size - 2, -1, -1):
        if losses[k] < losses[best] - 1e-9 * abs(losses[best]):
            best = k
    return penalties[best]


@compiled
def prune(tree: Tree, penalty: float) -> None:
    """Makes leaves of the nodes whose penalty is reached, and takes away what hangs below them."""
    for node in range(tree.feature.size):
        if tree.link[node] <= penalty:
            tree.feature[node] = -1
        if node > 0 and tree.feature[(node - 1) // 2] < 0:
            tree.feature[node], tree.rows[node] = -1, 0


@compiled
def _climb(tree: Tree, features: Features, row: int, leaf: int) -> tuple[Ints, Floats, Floats, int]:
    """The features on the way to a leaf: whether the row's value leads there, and what part of training rows it would."""
    names, leads, part, count = np.empty(8, np.int64), np.ones(8), np.ones(8), 0
    node = leaf
    while node > 0:
        parent = (node - 1) // 2
        k = 0
        while k < count and names[k] != tree.feature[parent]:
            k += 1
        if k == count:
            names[k], count = tree.feature[parent], count + 1
        if _goes_left(tree, features, parent, row) != (node == 2 * parent + 1):
            leads[k] = 0.0
        part[k] *= tree.rows[node] / tree.rows[parent]
        node = parent
    return names, leads, part, count


@compiled
def explain(tree: Tree, features: Features, row: int, shap: Floats) -> None:
    """Adds the exact path-dependent SHAP values of a row to shap, (p,) (Lundberg et al. 2020, what TreeExplainer computes).

    A leaf is a product over the features on its way, so its Shapley values are sums over the subsets of these few features.
    """
    for leaf in range(tree.feature.size):
        if tree.rows[leaf] == 0 or tree.feature[leaf] >= 0:
            continue
        names, leads, part, count = _climb(tree, features, row, leaf)
        for subset in range(2**count):
            size, product = 0, tree.value[leaf]
            for k in range(count):
                inside = (subset >> k) & 1
                size += inside
                product *= leads[k] if inside else part[k]
            # The Shapley value of k: (with k) - (without k), weighted by the number of orders in which this subset comes first.
            for k in range(count):
                if (subset >> k) & 1:
                    shap[names[k]] += product * _orders(size - 1, count)
                else:
                    shap[names[k]] -= product * _orders(size, count)


@compiled
def _orders(before: int, count: int) -> float:
    """before! (count - before - 1)! / count!"""
    result = 1.0 / count
    for k in range(before):
        result *= (k + 1) / (count - 1 - k)
    return result


@compiled
def _fit(features: Features, outcome: Outcome, plan: Plan, repeat: int, fold: int) -> Tree:
    """The tree of all rows but those of one fold, pruned inside them."""
    order, limits = plan.order[repeat, fold], (plan.depth, plan.min_leaf)
    tree = grow(features, outcome, plan.outer[repeat] != fold, order, limits)
    prune(tree, choose_penalty(features, outcome, tree, plan.inner[repeat, fold], order, limits))
    return tree


@compiled
def hold_out(features: Features, outcome: Outcome, plan: Plan) -> HeldOut:
    """Every row predicted and explained by trees that did not see its fold, once a repeat."""
    p, n = features.codes.shape
    repeats, folds = plan.inner.shape[:2]
    made = HeldOut(
        np.zeros((repeats, n), np.int64),
        np.zeros((repeats, folds, 2 ** (plan.depth + 1) - 1)),
        np.zeros((n, p)),
        np.zeros(p),
        np.zeros(p, np.int64),
        np.zeros(p, np.int64),
    )
    shap = np.zeros((n, p))
    for repeat in range(repeats):
        for fold in range(folds):
            tree = _fit(features, outcome, plan, repeat, fold)
            made.value[repeat, fold] = tree.value
            rows = np.flatnonzero(plan.outer[repeat] == fold)
            for row in rows:
                made.leaf[repeat, row] = reach(tree, features, row, -1.0)
                shap[row] = 0
                explain(tree, features, row, shap[row])
                for k in range(p):
                    made.shap[row, k] += shap[row, k] / repeats
                    made.size[k] += abs(shap[row, k]) / repeats / n
            for feature in np.unique(tree.feature[tree.feature >= 0]):
                direction = _direction(features.values[feature, rows], shap[rows, feature])
                made.up[feature] += direction > 0
                made.down[feature] += direction < 0
    return made


@compiled
def _direction(values: Floats, shap: Floats) -> float:
    """The sign of the correlation between known values and their SHAP values; 0 where either is constant."""
    known = ~np.isnan(values)
    if known.sum() < 2:
        return 0.0
    x, y = values[known] - values[known].mean(), shap[known] - shap[known].mean()
    spread = np.abs(x).max() * np.abs(y).max()
    covariance = (x * y).mean()
    return np.sign(covariance) if abs(covariance) > 1e-9 * spread else 0.0
