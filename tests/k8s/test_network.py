"""Who may reach whom: the NetworkPolicies, read as Kubernetes reads them."""

from rendering import COMBINATIONS, objects

HOME = "proteins"
SERVER = ("serve", HOME)
GATEWAY = ("gateway", HOME)
TEST = ("test", HOME)
NEIGHBOUR = (None, HOME)
STRANGER = (None, "elsewhere")
PROMETHEUS = (None, "monitoring")
INGRESS = (None, "ingress")


def labels_of(component):
    found = {"app.kubernetes.io/name": "bionemo-ext", "app.kubernetes.io/instance": "esm2"}
    return found | {"app.kubernetes.io/component": component} if component else {"app": "other"}


def selects(selector, labels):
    return set(selector.get("matchLabels", {}).items()) <= set(labels.items())


def is_peer(peer, pod):
    component, namespace = pod
    told = {"kubernetes.io/metadata.name": namespace, "name": namespace}
    if "namespaceSelector" in peer:
        there = selects(peer["namespaceSelector"], told)
    else:
        there = namespace == HOME
    return there and selects(peer.get("podSelector", {}), labels_of(component))


def allowed(found, source, target, port):
    """Whether both the source's egress and the target's ingress let a connection through."""
    policies = [o["spec"] for o in found if o["kind"] == "NetworkPolicy"]

    def passes(pod, direction, way, other):
        of_pod = [p for p in policies if pod[1] == HOME and selects_pod(p, pod)]
        rules = [rule for policy in of_pod for rule in policy[direction]]
        return not of_pod or any(
            ("ports" not in rule or port in [one["port"] for one in rule["ports"]])
            and (way not in rule or any(is_peer(peer, other) for peer in rule[way]))
            for rule in rules
        )

    def selects_pod(policy, pod):
        return selects(policy["podSelector"], labels_of(pod[0]))

    return passes(source, "egress", "to", target) and passes(target, "ingress", "from", source)


def test_the_release_s_own_namespace_may_ask_and_prometheus_may_look():
    found = objects(*COMBINATIONS["cpu"])
    for source in (GATEWAY, TEST, NEIGHBOUR):
        assert allowed(found, source, SERVER, "grpc")
        assert not allowed(found, source, SERVER, "metrics")
    assert allowed(found, NEIGHBOUR, GATEWAY, "http")
    assert allowed(found, PROMETHEUS, SERVER, "metrics")
    assert allowed(found, PROMETHEUS, GATEWAY, "http")  # its metrics are there
    for port in ("grpc", "http"):
        assert not allowed(found, PROMETHEUS, SERVER, port)
        assert not allowed(found, STRANGER, SERVER, port)
    assert not allowed(found, STRANGER, GATEWAY, "http")


def test_a_server_asks_nobody_and_the_gateway_only_servers():
    found = objects(*COMBINATIONS["cpu"])
    for target in (GATEWAY, NEIGHBOUR, STRANGER):
        assert not allowed(found, SERVER, target, 443)
        assert not allowed(found, SERVER, target, 53)
    assert allowed(found, GATEWAY, STRANGER, 53)
    assert not allowed(found, GATEWAY, STRANGER, 443)


def test_an_object_store_is_reached_at_its_ports():
    found = objects(*COMBINATIONS["object store and keda"])
    reached = [allowed(found, SERVER, STRANGER, port) for port in (53, 443, 9000, 80)]
    assert reached == [True, True, True, False]


def test_named_clients_take_the_namespace_s_place():
    found = objects(*COMBINATIONS["ingress"])
    for target, port in ((SERVER, "grpc"), (GATEWAY, "http")):
        assert allowed(found, INGRESS, target, port)
        assert not allowed(found, NEIGHBOUR, target, port)
    assert allowed(found, GATEWAY, SERVER, "grpc")
    assert allowed(found, TEST, SERVER, "grpc")
