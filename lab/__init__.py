# SPDX-License-Identifier: Apache-2.0
"""The lab: a small network of namespaces in which Fairlead does its work among real parts.

`host` makes room for it on this machine and takes everything away again, `topology` draws the
network, `parts` starts what runs in it (nginx, unbound, Fairlead itself), `product` reads what
Fairlead says about itself, `traffic` holds the clients, and `job` is the main job, step by step.
The demo and the tests of tests/lab are two ways to run `job`. Only Python's standard library is
used, so that /usr/bin/python3 of a bare Debian runs it.
"""
