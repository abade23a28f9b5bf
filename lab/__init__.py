# SPDX-License-Identifier: Apache-2.0
"""The lab: a small network of namespaces in which Fairlead does its work among real parts.

`topologies` are networks as `fairlead lab up` makes them. `host` moves into one and takes it down
again, `topology` is what the others know of the usual one, `parts` starts what runs in it (nginx,
unbound, Fairlead itself), `product` reads what Fairlead says about itself, `traffic` holds the
clients, and `job` is the main job, step by step.
The demo and the tests of tests/lab are two ways to run `job`. Only Python's standard library is
used, so that /usr/bin/python3 of a bare Debian runs it.
"""
