# SPDX-License-Identifier: Apache-2.0
"""The check of the layers sees each kind of violation, and nothing in a tree without one."""

import layers
import pytest


@pytest.mark.parametrize("name, text", [
    ("src/base/a.c", '#include "base/a.h"\n#include <stdio.h>\n'),
    ("src/naming/a.c", '#include "wire/dns.h"\n#include "abi/edge.h"\n'),
    ("src/daemon/a.c", '#include <uv.h>\n#include "store/store.h"\n'),
    ("src/api/unix.c", '#include "api/call.h"\n#include <uv.h>\n'),
    ("src/dataplane/a.c", '#include <bpf/libbpf.h>\n#include "edge.skel.h"\n'),
    ("src/landing/a.c", '#include "kernel/netlink.h"\n'),
    ("src/kernel/a.c", '#include <bpf/bpf.h>\n#include "base/error.h"\n'),
    ("src/store/a.c", "#include <sqlite3.h>\n"),
    ("src/peer/a.c", '#include "wire/peer.h"\n#include <openssl/ssl.h>\n#include <uv.h>\n'),
    ("src/cli/meson.build", "dependencies: [config_dep, base_dep] # not daemon_dep\n"),
    ("bpf/edge.bpf.c", '#include "abi/edge.h"\n#include "parse.h"\n#include <bpf/bpf_helpers.h>\n'),
    ("tests/unit/test_a.c", '#include "naming/answer.h"\n#include "store/store.h"\n'),
])
def test_allows(tmp_path, write, name, text):
    write(name, text)
    assert layers.check(tmp_path) == []


@pytest.mark.parametrize("name, text, line, complaint", [
    ("src/base/a.c", '\n#include "model/ring.h"\n', 2, "base may not include model"),
    ("src/model/a.h", '#include "store/store.h"\n', 1, "model may not include store"),
    ("src/naming/a.c", '#include "dataplane/edge.h"\n', 1, "naming may not include dataplane"),
    ("src/cli/a.c", '#include "model/ring.h"\n', 1, "cli may not include model"),
    ("src/config/a.c", '#include "store/store.h"\n', 1, "config may not include store"),
    ("abi/a.h", '#include "base/error.h"\n', 1, "abi may not include base"),
    ("src/kernel/a.c", '#include "landing/landing.h"\n', 1, "kernel may not include landing"),
    ("src/lab/a.c", '#include "kernel/netlink.h"\n', 1, "lab may not include kernel"),
    ("src/kernel/a.c", '#include "edge.skel.h"\n', 1,
     "only dataplane and landing may include edge.skel.h"),
    ("src/naming/a.c", "#include <uv.h>\n", 1,
     "only api/http and api/unix and daemon and peer may include uv.h"),
    ("src/api/call.c", "#include <uv.h>\n", 1,
     "only api/http and api/unix and daemon and peer may include uv.h"),
    ("src/peer/a.c", '#include "store/store.h"\n', 1, "peer may not include store"),
    ("src/ledger/a.c", "#include <openssl/ssl.h>\n", 1, "only peer may include openssl/ssl.h"),
    ("src/api/a.c", '#include "daemon/daemon.h"\n', 1, "api may not include daemon"),
    ("src/daemon/a.c", "  #  include <bpf/bpf.h>\n", 1,
     "only bpf and dataplane and kernel and landing may include bpf/bpf.h"),
    ("src/daemon/a.c", "#include <sqlite3.h>\n", 1, "only store may include sqlite3.h"),
    ("src/control/a.c", "#include <curl/curl.h>\n", 1, "only store may include curl/curl.h"),
    ("src/daemon/a.c", '#include "edge.skel.h"\n', 1,
     "only dataplane and landing may include edge.skel.h"),
    ("src/naming/a.c", '#include "answer.h"\n', 1,
     '"answer.h" is not written from src/ or from the root'),
    ("src/naming/a.c", '#include "../wire/dns.h"\n', 1,
     '"../wire/dns.h" is not written from src/ or from the root'),
    ("src/store/meson.build", "\ndependencies: [naming_dep]\n", 2, "store may not link naming"),
])
def test_refuses(tmp_path, write, name, text, line, complaint):
    write(name, text)
    assert layers.check(tmp_path) == [f"{name}:{line}: {complaint}"]


def test_knows_every_folder(tmp_path, write):
    write("src/extra/a.c", "")
    assert "extra is not in the table" in layers.check(tmp_path)[0]
