"""R's package survival as a peer: its own public tables, and what its functions make of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import numpy as np

from analysis.cohort.values import FollowUp

# Table > days, event, one number or 0/1. colon: its deaths. Many of the days are tied in lung, mgus2 and veteran.
TABLES = {
    "lung, sex": "d <- data.frame(t = lung$time, e = lung$status == 2, x = as.numeric(lung$sex == 1))",
    "lung, age": "d <- data.frame(t = lung$time, e = lung$status == 2, x = lung$age)",
    "veteran, trt": "d <- data.frame(t = veteran$time, e = veteran$status == 1, x = as.numeric(veteran$trt == 2))",
    "veteran, karno": "d <- data.frame(t = veteran$time, e = veteran$status == 1, x = veteran$karno)",
    "ovarian, rx": "d <- data.frame(t = ovarian$futime, e = ovarian$fustat == 1, x = as.numeric(ovarian$rx == 2))",
    "ovarian, age": "d <- data.frame(t = ovarian$futime, e = ovarian$fustat == 1, x = ovarian$age)",
    "pbc, bilirubin": "d <- data.frame(t = pbc$time, e = pbc$status == 2, x = pbc$bili)",
    "pbc, oedema": "d <- data.frame(t = pbc$time, e = pbc$status == 2, x = as.numeric(pbc$edema > 0))",
    "colon, node4": "k <- colon[colon$etype == 2, ]; d <- data.frame(t = k$time, e = k$status == 1, x = k$node4)",
    "mgus2, sex": "d <- data.frame(t = mgus2$futime, e = mgus2$death == 1, x = as.numeric(mgus2$sex == 'M'))",
    "rotterdam, hormon": "d <- data.frame(t = rotterdam$dtime, e = rotterdam$death == 1, x = rotterdam$hormon)",
    "tied": "d <- data.frame(t = rep(1:5, each = 6), e = rep(c(TRUE, TRUE, FALSE), 10), x = rep(c(0, 1, 1, 0, 2, 5), 5))",
}
PREAMBLE = """
suppressWarnings(suppressMessages(library(survival)))
say <- function(...) { told <- list(...); for (name in names(told)) {
  cat(table, name, paste(format(as.numeric(told[[name]]), digits = 17, trim = TRUE), collapse = " "), sep = "|"); cat("\\n") } }
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One table with R's numbers on it, by name."""

    follow_up: FollowUp
    x: np.ndarray
    numbers: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.numbers[name]


def ask(rscript: str, question: str, tables: dict[str, str] | None = None) -> dict[str, Told]:
    """Each table as R has it and what `question`, R code on the data frame d (t, e, x) that calls say(name = number), told."""
    code = PREAMBLE
    for name, made in (tables or TABLES).items():
        code += f'table <- "{name}"; {made}\nsay(t = d$t, e = d$e, x = d$x)\nlocal({{ {question} }})\n'
    ran = subprocess.run([rscript, "--vanilla", "-"], input=code, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, np.ndarray]] = {}
    for line in ran.stdout.splitlines():
        table, name, numbers = line.split("|")
        found.setdefault(table, {})[name] = np.array([float(n.replace("NA", "nan")) for n in numbers.split()])
    return {
        table: Told(follow_up=FollowUp(days=told["t"], event=told["e"] == 1), x=told["x"], numbers=told)
        for table, told in found.items()
    }
