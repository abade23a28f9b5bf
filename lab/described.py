# SPDX-License-Identifier: Apache-2.0
"""Does an answer in JSON hold what the help says, and nothing else?"""

import re
import subprocess

FIELD = re.compile(r"  (\S+) +(text|number|real number|counter|share|true or false|time|list of texts|object|"
                   r"list of objects)(?:, \w+)? {1,}\S")
TYPES = {"text": str, "time": str, "number": int, "counter": int, "real number": (int, float), "share": (int, float),
         "true or false": bool, "list of texts": list, "object": dict, "list of objects": list}
KIND = re.compile(r"`get (\w+)`?")


def fields(program, *words):
    """path: type, as `program WORDS --help` lists them; a field that is a kind of `get` has that
    kind's fields below it."""
    found = {}
    text = subprocess.run([program, *words, "--help"], capture_output=True, text=True,
                          check=True).stdout
    for line in text.partition("\nfields")[2].splitlines():
        if not (match := FIELD.match(line)):
            continue
        path, kind = match.groups()
        found[path] = kind
        if listed := KIND.search(line):
            found |= {f"{path}[].{inner}": type_ for inner, type_ in
                      fields(program, "get", listed[1]).items()}
    return found


def undescribed(answer, described, prefix=""):
    """What is wrong with the answer, a path each. What is not described inside may be anything."""
    if isinstance(answer, list):
        return [fault for item in answer for fault in undescribed(item, described, prefix)]
    faults = []
    for key, value in answer.items():
        path = f"{prefix}{key}"
        kind = described.get(path)
        if kind is None or value is not None and not isinstance(value, TYPES[kind]) \
                or isinstance(value, bool) and kind != "true or false":
            faults.append(f"{path} ({kind}): {value!r}")
            continue
        inner = f"{path}[]." if isinstance(value, list) else f"{path}."
        if kind in ("object", "list of objects") and any(
                name.startswith(inner) for name in described):
            faults += undescribed(value, described, inner)
    return faults
