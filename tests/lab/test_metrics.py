# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus reads two nodes' metrics, and is asked for them.

    prometheus, client ── net ── rack ──┬── a  10.0.1.2  the voter, edge, name server, backend
                                        └── b  10.0.1.3  edge, name server, backend
"""
import http.client
import json
import re
import socket
import time
import urllib.parse

import pytest

from lab.host import REPOSITORY, Capsule, wait_for
from test_fabric import PROGRAM, SERVER, TOPOLOGY, Fabric, answers

NODES = {"a": 2, "b": 3}
PORT = 7124
METRICS_PAGE = REPOSITORY / "docs/design/metrics.md"
DASHBOARD = REPOSITORY / "packaging/grafana/fairlead.json"
CONFIGURATION = """
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: fairlead
    static_configs: [{targets: ["10.0.1.2:7124", "10.0.1.3:7124"]}]
"""


class Measured(Fabric):
    """A fabric of two nodes, and the Prometheus beside them."""

    def options(self, name):
        return [*super().options(name), "--metrics", f"10.0.1.{NODES[name]}:{PORT}"]

    def page(self, name, path="/metrics", method="GET"):
        """What a node answers over HTTP: (status, text)."""
        with self.capsule.inside("net"):
            connection = http.client.HTTPConnection(f"10.0.1.{NODES[name]}", PORT, timeout=5)
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def ask(self, path, **words):
        """Prometheus's own API."""
        with self.capsule.inside("net"):
            connection = http.client.HTTPConnection("127.0.0.1", 9090, timeout=5)
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(words)}")
            answer = json.load(connection.getresponse())
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] of an expression, now."""
        return [(series["metric"], float(series["value"][1]))
                for series in self.ask("query", query=expression)["result"]]

    def value(self, expression):
        """The only value, or None while there is none."""
        found = self.query(expression)
        assert len(found) < 2, found
        return found[0][1] if found else None


def exported():
    """{name: labels} of the table that the page is rendered from."""
    rows = re.findall(r"^\| `(\w+)` \| (?:gauge|counter) \| \w* \| ([\w,]*) \|",
                      METRICS_PAGE.read_text(), re.MULTILINE)
    return {name: set(filter(None, labels.split(","))) for name, labels in rows}


def series_of(text):
    """{name with labels: value} of a page."""
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Measured(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        done = running.join("b", token)
        assert done.returncode == 0, done.stderr
        running.start("b")
        path = capsule.root / "prometheus.yml"
        path.write_text(CONFIGURATION)
        capsule.spawn("prometheus", [
            "prometheus", f"--config.file={path}",
            f"--storage.tsdb.path={capsule.root / 'prometheus'}",
            "--web.listen-address=127.0.0.1:9090", "--log.level=warn"], "net")
        # Its backends are on both, and a client reaches them through b.
        running.apply("a", "b")
        running.lead_to("b")
        yield running


def test_the_form_is_clean(fabric):
    """promtool's lint, of each node; nothing comes that the table does not have."""
    table = exported()
    assert len(table) > 50
    for name in NODES:
        status, text = fabric.page(name)
        assert status == 200
        done = fabric.capsule.run(["promtool", "check", "metrics"], "net", check=False, input=text)
        assert done.returncode == 0 and not done.stderr + done.stdout, done
        for series in series_of(text):
            metric, _, labels = series.partition("{")
            assert set(re.findall(r'(\w+)="', labels)) == table[metric], series
    missing = {metric for metric in table if not any(
        f"# TYPE {metric} " in fabric.page(name)[1] for name in NODES)}
    assert not missing


def test_a_node_is_scraped_and_asked(fabric):
    wait_for(lambda: fabric.value('count(up{job="fairlead"} == 1)') == 2, "two nodes to be up")
    assert {labels["node"]: labels["roles"] for labels, _ in fabric.query("fairlead_node_info")} == {
        "a": "edge,names,backend,voter", "b": "edge,names,backend"}
    head = fabric.clis["a"].json("status")["sequence"]
    wait_for(lambda: fabric.value("min(fairlead_ledger_applied_sequence)") >= head,
             "both to have applied all")
    assert fabric.value("max(fairlead_voter_silence_seconds)") == 0
    assert {labels["node"] for labels, behind in fabric.query("fairlead_member_behind_entries")
            if behind == 0} == set(NODES)
    assert fabric.value(f'sum(fairlead_version_share_ratio{{instance="10.0.1.2:{PORT}"}})') == 1
    status = fabric.clis["a"].json("status")
    assert {labels["edge_program"] for labels, _ in fabric.query("fairlead_build_info")} == {
        status["build_id"]}


def test_what_flows_is_counted(fabric):
    """Connections that a client opens: as flows and packets where they pass, and as connections
    where they are counted."""
    number = max(fabric.clis["a"].status().services["web"].versions)
    web = f'service="web",version="{number}"'
    flows = f'sum(fairlead_version_new_flows_total{{{web},instance="10.0.1.3:{PORT}"}})'
    wait_for(lambda: fabric.value(flows) is not None, "the version to be scraped")
    before = fabric.value(flows)
    connections = fabric.connect(number, 5)
    assert len(answers(connections)) == 10
    wait_for(lambda: fabric.value(flows) == before + 10, "ten flows through b")
    assert fabric.value(
        f'sum(fairlead_version_packets_total{{{web},instance="10.0.1.3:{PORT}"}})') >= 30
    wait_for(lambda: fabric.value(f"fairlead_version_connections{{{web}}}") == 10,
             "ten connections to be counted")
    assert fabric.value(f'fairlead_version_state{{{web},state="serving",'
                        f'instance="10.0.1.3:{PORT}"}}') == 1
    assert fabric.value("sum(fairlead_backend_connections)") == 10
    for connection in connections:
        connection.close()
    wait_for(lambda: fabric.value(f"fairlead_version_connections{{{web}}}") == 0,
             "none to be left")


def test_queries_and_drops_are_counted(fabric):
    answered = (f'fairlead_dns_answers_total{{instance="10.0.1.3:{PORT}",transport="udp",'
                'type="A",result="data"}')
    dropped = (f'fairlead_edge_dropped_packets_total{{instance="10.0.1.3:{PORT}",'
               'reason="port"}')
    wait_for(lambda: fabric.value(answered) is not None, "names to be scraped")
    before = fabric.value(answered), fabric.value(dropped)
    done = fabric.capsule.run(["kdig", "+short", "@10.0.1.3", "web.svc.example.net", "A"], "client")
    address = done.stdout.split()[0]
    with fabric.capsule.inside("client"):
        with socket.socket() as nowhere:
            nowhere.settimeout(0.2)
            with pytest.raises(OSError):
                nowhere.connect((address, 81))
    wait_for(lambda: fabric.value(answered) == before[0] + 1, "one query")
    wait_for(lambda: fabric.value(dropped) > before[1], "a packet to a port that is not served")


def test_every_query_of_the_dashboard(fabric):
    """Each names only what the table has, and a real Prometheus understands it."""
    dashboard = json.loads(DASHBOARD.read_text())
    table = exported()
    expressions = [target["expr"] for panel in dashboard["panels"]
                   for target in panel.get("targets", ())]
    expressions += [variable["query"]["query"] for variable in dashboard["templating"]["list"]
                    if variable["type"] == "query"]
    assert len(expressions) > 15
    silent = []
    for expression in expressions:
        names = set(re.findall(r"\b(?:fairlead|process)_\w+", expression))
        assert names and names <= set(table), expression
        labels = set(re.findall(r"(\w+)(?:=~?|!=)\"", expression))
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            labels |= set(re.findall(r"\w+", group))
        assert labels <= set().union({"instance", "job"}, *(table[name] for name in names)), (
            expression)
        if expression.startswith("label_values("):
            continue
        expression = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
        expression = expression.replace("$service", ".*")
        if not wait_for_value(fabric, expression):
            silent.append(expression)
    assert not silent


def wait_for_value(fabric, expression, seconds=10):
    """Whether the expression gets a value in time: a rate needs two scrapes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fabric.query(expression):
            return True
        time.sleep(0.2)
    return False


def test_one_metric_for_each_alarm(fabric):
    """0 or 1, of every code; an alarm that stands is read on the node that has it."""
    codes = set(re.findall(r"^\| `([a-z.-]+)` \| (?:alarm|repaired|note|risk)",
                           (REPOSITORY / "docs/design/alarms.md").read_text(), re.MULTILINE))
    told = {labels["code"]: value for labels, value in fabric.query(
        f'fairlead_alarm{{instance="10.0.1.3:{PORT}"}}')}
    assert set(told) == codes | {"other"} and set(told.values()) <= {0, 1}
    stands = f'fairlead_alarm{{instance="10.0.1.3:{PORT}",code="voter.unreached"}}'
    silence = f'fairlead_voter_silence_seconds{{instance="10.0.1.3:{PORT}"}}'
    assert fabric.value(stands) == 0
    fabric.unplug("b")
    try:
        wait_for(lambda: fabric.value(stands) == 1 and fabric.value(silence) >= 1,
                 "b to say that it reaches nobody", 20)
        wait_for(lambda: fabric.value('fairlead_alarm{code="member.silent"} == 1'),
                 "a to say that it does not hear b", 20)
        assert fabric.value('fairlead_member_silence_seconds{node="b"}') > 3
    finally:
        fabric.plug("b")
    wait_for(lambda: fabric.value(stands) == 0 and fabric.value(silence) == 0,
             "b to reach a again", 20)


def test_nothing_else_is_there(fabric):
    status, text = fabric.page("a", "/")
    assert status == 200 and "/metrics" in text
    for path in "/metrics/", "/status", "/..", "/api/v1/query":
        assert fabric.page("a", path)[0] == 404
    assert fabric.page("a", method="POST")[0] == 405
    assert fabric.page("a", method="DELETE")[0] == 405


def test_a_slow_crowd_harms_nobody(fabric):
    """Clients that ask and never read, and others that only connect: orders, names and flows go on,
    and in the end Prometheus gets its page."""
    crowd = []
    with fabric.capsule.inside("net"):
        for i in range(20):
            one = socket.create_connection(("10.0.1.3", PORT), timeout=5)
            if i % 2:
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n")
            crowd.append(one)
    began = time.monotonic()
    number = fabric.apply("b", on="b")
    fabric.capsule.run(["kdig", "+short", "@10.0.1.3", "web.svc.example.net", "A"], "client")
    connections = fabric.connect(number, 2)
    assert answers(connections) == ["b"] * 4
    assert time.monotonic() - began < 20
    for connection in connections:
        connection.close()
    wait_for(lambda: fabric.value(f'up{{instance="10.0.1.3:{PORT}"}}') == 1,
             "Prometheus to be served", 60)
    for one in crowd:
        one.close()


def test_a_port_that_is_taken(fabric):
    """The node goes on, says so, and is read when the port comes free."""
    fabric.nodes["b"].stop()
    with fabric.capsule.inside("b"):
        other = socket.create_server(("10.0.1.3", PORT))
    with other:
        fabric.again("b")
        wait_for(lambda: any("metrics cannot be read" in alarm["text"]
                             for alarm in fabric.clis["b"].json("status")["alarms"]),
                 "the alarm", 20)
    wait_for(lambda: fabric.page("b")[0] == 200, "b to be read")
    wait_for(lambda: not [alarm for alarm in fabric.clis["b"].json("status")["alarms"]
                          if alarm["code"] == "metrics.closed"], "the alarm to end", 20)


def test_nobody_can_read_what_is_turned_off(fabric):
    child = fabric.nodes["b"]
    argv = child.argv
    child.stop()
    child.start(argv=[*argv, "--metrics", "none"])
    fabric.wait("b")
    with pytest.raises(OSError):
        fabric.page("b")
    child.stop()
    child.start(argv=argv)
    fabric.wait("b")
    assert fabric.page("b")[0] == 200
