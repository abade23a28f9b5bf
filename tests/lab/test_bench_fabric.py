# SPDX-License-Identifier: Apache-2.0
"""The programs of `./dev bench fabric`, with few edges and without a clock: what they call held is
held, and what they do not say is missed."""
import pytest

from bench.fabric_rig import Edges, Fabric, floor_ms
from bench.fabric import Many
from lab.host import wait_for

COUNT = 5


@pytest.fixture(scope="module")
def many():
    with Fabric(("a",)) as fabric:
        fabric.start_voter()
        running = Many(fabric)
        running.edges.join(COUNT)
        running.edges.up(COUNT)
        yield running
        running.edges.close()


def heard(many):
    nodes = many.fabric.voter.cli.json("get", "nodes")
    return [node for node in nodes if node["name"].startswith("edge0")]


def newest(many):
    service = many.fabric.voter.cli.status().services["s0000"]
    return service.state(max(service.versions))


def test_the_voter_has_heard_what_the_edges_say_that_they_hold(many):
    one = many.apply()
    assert 0 < one["first"] <= one["held"] <= one["ready"]
    assert one["bytes"] > 1000
    many.edges.settle()
    assert len(heard(many)) == COUNT
    wait_for(lambda: all(node["behind"] == 0 and node["heard_ms"] < 3000 for node in heard(many)),
             "nobody to be behind")
    wait_for(lambda: newest(many) == "serving", "the version to serve")


def test_an_edge_joins_while_others_are_up(many):
    many.edges.join(COUNT + 1)
    many.edges.up(COUNT + 1)
    many.edges.settle()
    many.apply()
    assert len(heard(many)) == COUNT + 1


def test_edges_that_acknowledge_nothing_are_waited_for(many):
    """So what is measured is measured of edges that the voter waits for."""
    many.edges.settle()
    many.edges.say("silent")
    many.weights[0] += 1
    many.fabric.voter.cli("apply", many.fabric.write(many.weights, many.backends))
    many.edges.held()
    assert newest(many) == "staged"


def test_edges_that_are_not_let_in_end_with_a_sentence(many):
    edges = Edges(many.fabric)
    token = many.fabric.voter.cli.json("token", "--role", "names")["token"]
    edges.say("join " + token)
    assert edges.process.wait(30) != 0
    assert b"does not allow the role edge" in edges.process.stderr.read()


def test_the_floor_answers_each_round():
    rounds = floor_ms(3, 20000, 200, 4)
    assert len(rounds) == 4 and all(one > 0 for one in rounds)
