"""The compiled inner loops of the cohort's trees: growing, pruning, explaining.

One kind of tree serves all targets: splits by the log-rank statistic. A yes/no label is a follow-up with one time, at which
positives have the event and which negatives outlive. Then the log-rank statistic orders splits as the Gini gain does (both
grow with (ad - bc)^2 / (n1 n2) of the two-by-two table), the total hazard of a leaf is its part of positives, and Harrell's C
is the area under the ROC curve.

All of them stand in this file with the one that is kept on disk, for numba notices no change in another file.
"""

from __future__ import annotations

import numpy as np

from analysis.cohort.tree_arrays import (
    MISSING,
    Bools,
    Bytes,
    Features,
    Floats,
    Folds8,
    Ints,
    Outcome,
    Shown,
    Tree,
    compiled,
    entrance,
)


@compiled
def _tally(outcome: Outcome, rows: Ints) -> tuple[Floats, Floats]:
    """Rows at risk and events at each time, both (t,)."""
    at_risk, events = np.zeros(outcome.times), np.zeros(outcome.times)
    for row in rows:
        if outcome.seen[row] > 0:
            at_risk[outcome.seen[row] - 1] += 1
            events[outcome.seen[row] - 1] += outcome.event[row]
    for time in range(outcome.times - 2, -1, -1):
        at_risk[time] += at_risk[time + 1]
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
def _node_times(outcome: Outcome, rows: Ints) -> tuple[Ints, Floats, Floats, Floats]:
    """The times that have an event in this node. place: (t+1,) at how many of them a row is at risk, from its seen.

    With them rows at risk, the part that has the event, and the factor of the hypergeometric variance, all (times,).
    """
    all_at_risk, all_events = _tally(outcome, rows)
    place = np.zeros(outcome.times + 1, np.int64)
    for time in range(outcome.times):
        place[time + 1] = place[time] + (all_events[time] > 0)
    count = place[outcome.times]
    at_risk, part, spread = np.empty(count), np.empty(count), np.empty(count)
    for time in range(outcome.times):
        if all_events[time] > 0:
            n, d = all_at_risk[time], all_events[time]
            at_risk[place[time]], part[place[time]] = n, d / n
            spread[place[time]] = d * (n - d) / (n * n * max(n - 1, 1))
    return place, at_risk, part, spread


@compiled
def _best_split(features: Features, outcome: Outcome, rows: Ints, order: Ints, min_leaf: int) -> tuple[int, int, bool, float]:
    """Feature, last bin on the left, whether missing values go left, log-rank statistic; feature -1 where there is no split."""
    place, at_risk, part, spread = _node_times(outcome, rows)
    bins, times = features.lowest.shape[1], part.size
    counts, happened, filled = np.zeros((bins + 1, times + 1)), np.zeros(bins + 1), np.zeros(bins + 1, np.int64)
    column, adds = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64)
    for k in range(rows.size):
        column[k], adds[k] = place[outcome.seen[rows[k]]], 1 + (np.int64(outcome.event[rows[k]]) << 32)
    best = (-1, 0, False, 1e-9)
    for feature in order:
        for k in range(rows.size):
            bin_of = min(int(features.codes[feature, rows[k]]), bins)
            counts[bin_of, column[k]] += 1
            filled[bin_of] += adds[k]  # rows in the lower half of the number, events in the upper: one addition for two
        for code in range(bins + 1):
            happened[code], filled[code] = filled[code] >> 32, filled[code] & 0xFFFFFFFF
        for missing_left in range(2 if filled[bins] else 1):
            observed, size, last = missing_left * happened[bins], missing_left * filled[bins], -1
            left = missing_left * counts[bins]
            for code in range(bins + 1 - missing_left):
                if filled[code] == 0:
                    continue
                if last >= 0 and min(size, rows.size - size) >= min_leaf:
                    score = _logrank(left, float(observed), part, spread, at_risk)
                    if score > best[3] * (1 + 1e-9):
                        cut = _cut(features, feature, last, code) if code < bins else bins - 1
                        goes = bool(missing_left == 1 if filled[bins] else size > rows.size - size)
                        best = (feature, cut, goes, score)
                left += counts[code]
                observed, size, last = observed + happened[code], size + filled[code], code
        counts[:], filled[:] = 0, 0
    return best


@compiled
def _describe(tree: Tree, outcome: Outcome, node: int, rows: Ints) -> None:
    """Fills in what a node predicts and what it costs."""
    at_risk, events = _tally(outcome, rows)
    hazard, value, happened, expected = 0.0, 0.0, 0.0, 0.0
    for time in range(outcome.times):
        if events[time] > 0:
            hazard += events[time] / at_risk[time]
            happened += events[time]
        if tree.hazard[time + 1] > tree.hazard[time]:
            value += hazard
    for row in rows:
        expected += tree.hazard[outcome.seen[row]]
    tree.rows[node], tree.value[node] = rows.size, value
    tree.rate[node] = (happened + 1) / (expected + 1)
    if outcome.label:
        tree.cost[node] = 2 * value * (1 - value) * rows.size / tree.rows[0]
    elif happened > 0:
        tree.cost[node] = -happened * np.log(happened / expected) / tree.rows[0]


@compiled
def _select(where: Ints | Folds8, wanted: int) -> Ints:
    count = 0
    for place in where:
        count += place == wanted
    found, count = np.empty(count, np.int64), 0
    for row in range(where.size):
        if where[row] == wanted:
            found[count] = row
            count += 1
    return found


@compiled
def _grow(features: Features, outcome: Outcome, tree: Tree, where: Ints, order: Ints, min_leaf: int) -> None:
    """Fills a tree with the training rows, unpruned, and the penalty at which each of its nodes becomes a leaf.

    where: (n,) 0 for training rows, else below 0; afterwards the node in which each of them ended.
    """
    nodes = tree.feature.size
    rows = _select(where, 0)
    at_risk, events = _tally(outcome, rows)
    for time in range(outcome.times):
        tree.hazard[time + 1] = tree.hazard[time] + (events[time] / at_risk[time] if events[time] > 0 else 0.0)
    for node in range(nodes):
        here = _select(where, node)
        if here.size > 0:
            _describe(tree, outcome, node, here)
        if 2 * node + 2 < nodes and here.size >= 2 * min_leaf:
            split = _best_split(features, outcome, here, order, min_leaf)
            tree.feature[node], tree.cut[node], tree.missing_left[node] = split[0], split[1], split[2]
            for row in here:
                if split[0] >= 0:
                    where[row] = 2 * node + (1 if _goes_left(tree, features, node, row) else 2)
    _weigh_links(tree)


@compiled
def _goes_left(tree: Tree, features: Features, node: int, row: int) -> bool:
    code = features.codes[tree.feature[node], row]
    return bool(tree.missing_left[node] if code == MISSING else code <= tree.cut[node])


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
def _reach(tree: Tree, features: Features, row: int, penalty: float) -> int:
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
        return float((happened - tree.value[node]) ** 2)
    return float(tree.rate[node] * tree.hazard[outcome.seen[row]] - happened * np.log(tree.rate[node]))


@compiled
def _empty(depth: int, times: int) -> Tree:
    nodes = 2 ** (depth + 1) - 1
    feature, link = np.empty(nodes, np.int64), np.empty(nodes)
    for node in range(nodes):
        feature[node], link[node] = -1, np.inf
    cut, missing_left, rows = np.zeros(nodes, np.int64), np.zeros(nodes, np.bool_), np.zeros(nodes, np.int64)
    return Tree(feature, cut, missing_left, rows, np.zeros(nodes), np.zeros(nodes), np.zeros(nodes), link, np.zeros(times + 1))


@compiled
def _penalties(tree: Tree) -> Floats:
    """A penalty for each of the trees that pruning can make, the largest tree first; the last ones are infinite.

    The geometric middle of each interval in which the pruned tree stays the same (Breiman et al. 1984, 3.4.2).
    """
    found = np.zeros(tree.link.size + 2)
    count, below = 1, 0.0
    while below < np.inf:
        link = np.inf
        for other in tree.link:
            if below < other < link:
                link = other
        if below > 0:
            found[count] = np.sqrt(below * link)
            count += 1
        below = link
    for k in range(count, found.size):
        found[k] = np.inf
    return found


@compiled
def _least(losses: Floats) -> int:
    """The place of the least loss; of equal ones the last, so the smallest tree."""
    best = losses.size - 1
    for k in range(losses.size - 2, -1, -1):
        if losses[k] < losses[best] - 1e-9 * abs(losses[best]):
            best = k
    return best


@compiled
def _prune(tree: Tree, penalty: float) -> None:
    """Makes leaves of the nodes whose penalty is reached, and takes away what hangs below them."""
    for node in range(tree.feature.size):
        if tree.link[node] <= penalty:
            tree.feature[node] = -1
        if node > 0 and tree.feature[(node - 1) // 2] < 0:
            tree.feature[node], tree.rows[node] = -1, 0


@compiled
def _climb(tree: Tree, features: Features, row: int, leaf: int) -> tuple[Ints, Floats, Floats, int]:
    """The features on the way to a leaf: whether the row's value leads there, and what part of training rows it would."""
    names, leads, part, count = np.zeros(8, np.int64), np.ones(8), np.ones(8), 0
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
def _explain(tree: Tree, features: Features, row: int, shap: Floats) -> None:
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
def _fit(features: Features, outcome: Outcome, inner: Folds8, order: Ints, limits: tuple[int, int, float]) -> Tree:
    """The tree of all rows of which inner is 0 or more, pruned by the penalty that loses least in these inner folds."""
    depth, min_leaf, penalty = limits
    tree = _empty(depth, outcome.times)
    penalties, losses = np.zeros(1), np.zeros(1)
    for fold in range(-1, inner.max() + 1 if penalty < 0 else 0):  # -1: all of them, then each inner fold held out
        where = np.empty(inner.size, np.int64)
        for row in range(inner.size):
            where[row] = 0 if inner[row] >= 0 and inner[row] != fold else -1
        part = _empty(depth, outcome.times)
        _grow(features, outcome, part, where, order, min_leaf)
        if fold < 0:
            tree, penalties = part, _penalties(part)
            losses = np.zeros(penalties.size)
            continue
        for row in range(inner.size):
            if inner[row] == fold:
                for k in range(penalties.size):
                    losses[k] += _loss(part, outcome, _reach(part, features, row, penalties[k]), row)
    _prune(tree, penalty if penalty >= 0 else penalties[_least(losses)])
    return tree


@entrance
def hold_out_fold(
    features: tuple[Bytes, Floats, Floats, Floats],
    outcome: tuple[Ints, Bools, int, bool],
    folds: tuple[Folds8, Ints],
    limits: tuple[int, int, float],
    shown: tuple[Ints, Floats, Floats, Ints, Ints],
) -> Floats:
    """What each node of the pruned tree of all rows but one fold's predicts; what it says of that fold's is added to shown.

    folds: (n,) the inner fold of each row, -1 where the tree may not see it; (p,) the order in which features are tried, for
    the first of equally good splits is taken. limits: largest depth, fewest rows of a leaf, and the penalty of pruning, which
    is chosen in the inner folds where it is below 0. features, outcome, shown: as Features, Outcome and Shown.
    """
    x, asked, made, inner = Features(*features), Outcome(*outcome), Shown(*shown), folds[0]
    tree = _fit(x, asked, inner, folds[1], limits)
    p, rows = x.codes.shape[0], _select(inner, -1)
    shap = np.zeros((rows.size, p))
    for k in range(rows.size):
        made.leaf[rows[k]] = _reach(tree, x, rows[k], -1.0)
        _explain(tree, x, rows[k], shap[k])
        for feature in range(p):
            made.shap[rows[k], feature] += shap[k, feature]
            made.size[feature] += abs(shap[k, feature])
    for feature in range(p):
        direction = _direction(x.values[feature], shap[:, feature], rows)
        made.up[feature] += direction > 0
        made.down[feature] += direction < 0
    return tree.value


@compiled
def _direction(values: Floats, shap: Floats, rows: Ints) -> float:
    """The covariance of known values and their SHAP values, 0 where either is constant."""
    count, mean_value, mean_shap = 0, 0.0, 0.0
    for k in range(rows.size):
        if not np.isnan(values[rows[k]]):
            count += 1
            mean_value += (values[rows[k]] - mean_value) / count
            mean_shap += (shap[k] - mean_shap) / count
    covariance, widest, farthest = 0.0, 0.0, 0.0
    for k in range(rows.size):
        if not np.isnan(values[rows[k]]):
            x, y = values[rows[k]] - mean_value, shap[k] - mean_shap
            covariance += x * y
            widest, farthest = max(widest, abs(x)), max(farthest, abs(y))
    return covariance if abs(covariance) > 1e-9 * widest * farthest else 0.0
