#!/usr/bin/env python3
"""Draws the ratios of a results file: a row per model, a dot per peer.

usage: plot.py RESULTS.json PLOT.svg      (in the environment of requirements/report.txt)
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "marver", "font.size": 9, "font.family": "sans-serif"})
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

MARKERS = "osD^v<>Pp*hXd"


def draw(axes, data, threads):
    models = [m["title"] for m in data["models"]]
    for number, peer in enumerate(data["peers"]):
        points = [(p["ratio"], len(models) - 1 - p["model"]) for p in data["points"]
                  if p["peer"] == peer and p["threads"] == threads]
        if points:
            axes.scatter(*zip(*points), s=26, marker=MARKERS[number % len(MARKERS)], color=plt.cm.tab20(number % 20),
                         label=peer, zorder=3, linewidths=0)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.4, 300)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(models)), models[::-1])
    axes.grid(axis="both", color="0.9", zorder=0)
    axes.set_title(f"{threads} thread{'' if threads == 1 else 's'}")
    axes.spines[["top", "right"]].set_visible(False)


def main():
    with open(sys.argv[1]) as file:
        data = json.load(file)
    figure, panels = plt.subplots(1, len(data["threads"]), sharey=True, figsize=(11, 0.8 + 0.34 * len(data["models"])),
                                  squeeze=False)
    for axes, threads in zip(panels[0], data["threads"]):
        draw(axes, data, threads)
    panels[0][0].set_xlabel("time of the other runtime / time of marver (right of 1x: marver is faster)", loc="left")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center right", frameon=False)
    figure.tight_layout(rect=(0, 0, 0.83, 1))
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
