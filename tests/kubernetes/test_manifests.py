"""deploy/kubernetes: valid, and by the rules of a cluster that is to be trusted. Nothing of it is run here."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from tornado.routing import PathMatches

from deploy.broker.definitions import clustered
from nowait.settings import PREFIX
from nowait.testing import FakeBridge
from server.app import make_app
from server.settings import Settings as ServerSettings
from server.webhooks.addresses import PORTS
from tasks.app import app
from tasks.settings import Settings as TasksSettings
from tests.conftest import ROOT
from tests.docs.pages import PAGES
from tests.kubernetes.conftest import Validation
from tests.kubernetes.rendered import Rendered, walk

PAGE = PAGES["docs/kubernetes.md"]
WORKERS = {"worker", "jobs"}
QUEUES = {queue.name for queue in app.conf.task_queues}
BROKER_LABEL = {"app.kubernetes.io/name": "broker"}  # the operator's


def unit(name: str, key: str) -> str:
    """A value of a unit of systemd."""
    (value,) = re.findall(rf"^{key}=(.*)$", (ROOT / f"deploy/systemd/{name}.service").read_text(), re.MULTILINE)
    return str(value)


def test_every_document_is_valid(rendered: Rendered) -> None:
    assert rendered.wrong == {}
    assert rendered.pods().keys() == {"server", "worker", "jobs", "beat"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base/server.yaml", "resources:", "resource:"),
        ("overlays/keda/workers.yaml", "minReplicaCount:", "minReplicas:"),
        ("overlays/rabbitmq/broker.yaml", "disableNonTLSListeners:", "disableTLS:"),
        ("overlays/rabbitmq/broker.yaml", "kind: RabbitmqCluster", "kind: RabbitCluster"),
    ],
)
def test_a_misspelt_name_is_found(validation: Validation, tmp_path: Path, file: str, old: str, new: str) -> None:
    text = (ROOT / "deploy/kubernetes" / file).read_text()
    assert old in text
    (tmp_path / "bad.yaml").write_text(text.replace(old, new))
    (found,) = validation(tmp_path / "bad.yaml")
    assert [what for _, what in found if what]


def test_every_container_has_its_resources(rendered: Rendered) -> None:
    for container in rendered.containers().values():
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        # More CPU than that where nobody else needs it, and never more memory.
        assert container["resources"]["limits"].keys() == {"memory"}


def test_every_pod_is_an_ordinary_user_without_an_account_of_kubernetes(rendered: Rendered) -> None:
    for pod in rendered.pods().values():
        context = pod["spec"]["securityContext"]
        # By number: of a name Kubernetes cannot know that it is not root's.
        assert context["runAsNonRoot"] and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_no_container_may_gain_anything(rendered: Rendered) -> None:
    for container in rendered.containers().values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip


def test_probes_ask_for_routes_of_the_server(rendered: Rendered) -> None:
    rules = make_app(FakeBridge({}, queues=()), ServerSettings()).wildcard_router.rules
    routes = {rule.matcher.regex.pattern.rstrip("$") for rule in rules if isinstance(rule.matcher, PathMatches)}
    container = rendered.containers()["server"]
    ports = {port["name"] for port in container["ports"]}
    probes = [container["livenessProbe"]["httpGet"], container["readinessProbe"]["httpGet"]]
    assert [probe["path"] for probe in probes] == ["/healthz", "/readyz"]
    assert {probe["path"] for probe in probes} <= routes and {probe["port"] for probe in probes} <= ports
    (port,) = rendered.of("Service")["server"]["spec"]["ports"]
    assert port["targetPort"] in ports
    # A loop that hangs gets as long as it gets of systemd.
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] == int(unit("nowait-server@", "WatchdogSec"))


def test_probes_of_workers_look_at_the_file_that_they_touch(rendered: Rendered) -> None:
    for name in WORKERS:
        container, file = rendered.containers()[name], rendered.environment(name)["NOWAIT_LIVENESS_FILE"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert file in container[probe]["exec"]["command"][-1].split()
        # One that only waits for the broker is alive, and not ready.
        assert "grep -q ready" in container["readinessProbe"]["exec"]["command"][-1]
        (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == str(Path(file).parent)]
        volumes = {volume["name"]: volume for volume in rendered.pods()[name]["spec"]["volumes"]}
        assert "emptyDir" in volumes[mount["name"]]


def test_every_setting_is_one_with_a_value_that_is_allowed(rendered: Rendered) -> None:
    for name in rendered.pods():
        kind = ServerSettings if name == "server" else TasksSettings
        variables = rendered.environment(name)
        known = {PREFIX + field.name.upper() for field in dataclasses.fields(kind)} | {"NOWAIT_WORKER", "SSL_CERT_FILE"}
        assert variables.keys() <= known
        kind.from_environment(variables)
        mounts = {mount["mountPath"] for mount in rendered.containers()[name]["volumeMounts"]}
        assert str(Path(variables["SSL_CERT_FILE"]).parent) in mounts


def test_whatever_picks_pods_picks_some(rendered: Rendered) -> None:
    labels = [pod["metadata"]["labels"] for pod in rendered.pods().values()]
    labels += [BROKER_LABEL] if rendered.of("RabbitmqCluster") else []
    for place, wanted in rendered.selectors():
        assert wanted and any(wanted.items() <= each.items() for each in labels), place
    for name, deployment in rendered.of("Deployment").items():
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        assert [pod for pod, each in rendered.pods().items() if wanted <= each["metadata"]["labels"].items()] == [name]


def test_every_secret_and_map_is_there_or_made_by_the_page(rendered: Rendered) -> None:
    made = re.findall(r"kubectl create (secret|configmap) (?:generic |tls )?(\S+)", PAGE)
    assert rendered.named("Secret") <= {name for kind, name in made if kind == "secret"}
    maps = {name for kind, name in made if kind == "configmap"} | rendered.of("ConfigMap").keys()
    assert rendered.named("ConfigMap") <= maps
    for each in rendered.of("TriggerAuthentication").values():
        for reference in each["spec"]["secretTargetRef"]:
            assert re.search(rf"secret generic {reference['name']} .*--from-\S+={reference['key']}=", PAGE)


def test_every_image_has_a_version(rendered: Rendered) -> None:
    for container in rendered.containers().values():
        assert re.fullmatch(r"[\w.-]+/[\w-]+:\d[\w.-]*", container["image"])


def test_one_pod_of_each_goes_on_whatever_is_drained(rendered: Rendered) -> None:
    budgets, scaled = rendered.of("PodDisruptionBudget"), rendered.of("ScaledObject")
    for name, deployment in rendered.of("Deployment").items():
        least = scaled[name]["spec"]["minReplicaCount"] if name in scaled else deployment["spec"]["replicas"]
        assert least - budgets[name]["spec"]["maxUnavailable"] >= 1
        assert budgets[name]["spec"]["selector"] == deployment["spec"]["selector"]
        # Without a broker no server is ready: nodes are drained all the same.
        assert budgets[name]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_pod_has_the_time_that_it_takes_to_end(rendered: Rendered) -> None:
    grace = {name: pod["spec"]["terminationGracePeriodSeconds"] for name, pod in rendered.pods().items()}
    settings = ServerSettings.from_environment(rendered.environment("server"))
    assert grace["server"] > settings.shutdown_notice + settings.shutdown_timeout + 5
    assert {grace[name] for name in WORKERS} == {int(unit("nowait-worker@", "TimeoutStopSec"))}
    assert grace["beat"] == int(unit("nowait-beat", "TimeoutStopSec"))


def test_workers_take_all_queues_and_jobs_by_themselves(rendered: Rendered) -> None:
    options = {name: rendered.environment(name)["NOWAIT_WORKER"].split() for name in WORKERS}
    assert options["worker"][-2:] == ["-X", "queries.jobs"] and options["jobs"][-2:] == ["-Q", "queries.jobs"]


def test_only_servers_are_reached_and_only_what_is_needed_is(rendered: Rendered) -> None:
    policies = rendered.of("NetworkPolicy")
    assert policies["nowait"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    # All of them by Prometheus alone, at the port of the metrics.
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    (metrics,) = policies["nowait"]["spec"]["ingress"]
    assert (metrics["from"], [port["port"] for port in metrics["ports"]]) == (monitoring, ["metrics"])
    (clients,) = policies["server"]["spec"]["ingress"]
    assert [port["port"] for port in clients["ports"]] == ["http"]
    reached = {port["port"]: rule.get("to") for rule in policies["nowait"]["spec"]["egress"] for port in rule["ports"]}
    assert reached == {53: None, 5671: None, 3306: None, 4318: monitoring}
    (webhooks,) = policies["server"]["spec"]["egress"]
    assert {port["port"] for port in webhooks["ports"]} == PORTS
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(webhooks["to"][0]["ipBlock"]["except"])
    if "broker" in policies:
        looked_at = [rule["ports"] for rule in policies["broker"]["spec"]["ingress"] if rule["from"] == monitoring]
        assert looked_at == [[{"port": 15691, "protocol": "TCP"}]]


def test_every_pod_has_a_port_for_its_metrics_that_prometheus_looks_for(rendered: Rendered) -> None:
    wanted = (ROOT / "deploy/metrics/prometheus-kubernetes.yml").read_text()
    assert "[__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep" in wanted
    assert '[__meta_kubernetes_pod_container_port_number], regex: "15691", action: keep' in wanted
    for name, container in rendered.containers().items():
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert rendered.environment(name)["NOWAIT_METRICS"] == f"0.0.0.0:{ports['metrics']}"


def test_no_document_has_a_password(rendered: Rendered) -> None:
    assert not rendered.of("Secret")
    text = json.dumps(rendered.documents)
    assert not re.search(r"(amqps?|mysql)://|change-me", text)
    for _, value in walk(rendered.documents):
        assert not {"NOWAIT_BROKER_URL", "NOWAIT_DATABASE_URL", "NOWAIT_WEBHOOK_SECRETS"} & {value.get("name"), *value}


def test_workers_are_scaled_by_the_queues_that_they_take(all_rendered: dict[str, Rendered]) -> None:
    for name in ("keda", "both"):
        rendered = all_rendered[name]
        (scaled,) = rendered.of("ScaledObject").values()
        spec = scaled["spec"]
        # Each worker takes the catalogue, and jobs have their own.
        queues = {trigger["metadata"]["queueName"] for trigger in spec["triggers"]}
        assert queues == QUEUES - {"queries.jobs", "queries.catalogue"}
        assert "replicas" not in rendered.of("Deployment")[spec["scaleTargetRef"]["name"]]["spec"]
        assert spec["minReplicaCount"] < spec["fallback"]["replicas"] < spec["maxReplicaCount"]
        # A broker that does not answer ends no worker.
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
        # What waits, by this, is how many workers there are to be in all: they are busy when so much waits for each.
        threads = int(rendered.environment("worker")["NOWAIT_WORKER"].split("-c ")[1].split()[0])
        assert all(int(trigger["metadata"]["value"]) <= threads / 8 for trigger in spec["triggers"])
        names = {trigger["authenticationRef"]["name"] for trigger in spec["triggers"]}
        assert names == rendered.of("TriggerAuthentication").keys()
        fewer = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert fewer["stabilizationWindowSeconds"] > ServerSettings().stream_timeout


def test_a_cluster_of_brokers_is_as_on_hosts(all_rendered: dict[str, Rendered]) -> None:
    conf = (ROOT / "deploy/broker/rabbitmq.conf").read_text().splitlines()
    (limit,) = [line for line in conf if line.startswith("max_message_size")]
    definitions = clustered(json.loads((ROOT / "deploy/broker/definitions.json").read_text()))
    (stream,) = [each for each in definitions["queues"] if each["name"] == "topics.log"]
    for name in ("rabbitmq", "both"):
        rendered = all_rendered[name]
        (cluster,) = rendered.of("RabbitmqCluster").values()
        spec = cluster["spec"]
        assert spec["replicas"] == stream["arguments"]["x-initial-cluster-size"]
        lines = spec["rabbitmq"]["additionalConfig"].splitlines()
        (file,) = [line.partition(" = ")[2] for line in lines if line.startswith("load_definitions")]
        (container,) = spec["override"]["statefulSet"]["spec"]["template"]["spec"]["containers"]
        assert limit in lines and str(Path(file).parent) == container["volumeMounts"][0]["mountPath"]
        assert f"--from-file={Path(file).name}=" in PAGE
        assert spec["rabbitmq"]["advancedConfig"].strip() in PAGES["docs/deploying.md"]
        assert spec["tls"]["disableNonTLSListeners"] is True
        assert rendered.of("ConfigMap")["nowait"]["data"]["NOWAIT_TOPOLOGY"] == "clustered"


def test_without_a_cluster_of_brokers_there_is_one(all_rendered: dict[str, Rendered]) -> None:
    for name in ("base", "keda"):
        assert all_rendered[name].of("ConfigMap")["nowait"]["data"]["NOWAIT_TOPOLOGY"] == "provisioned"
