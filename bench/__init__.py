# SPDX-License-Identifier: Apache-2.0
"""Measurements: what Fairlead costs, as ratios against a floor or a peer in the same run.

`./dev bench` runs them all. Each module beside this one is one benchmark with the same two
functions, `measure(options)` and `show(result)`; `measure` holds what they share: interleaved
rounds, medians, tables, and the file that each leaves in build/bench. Nothing here passes or fails:
a number is a number, and a person judges it.
"""
