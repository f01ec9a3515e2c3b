"""deploy/kubernetes: Kubernetes would take it, what its page says of it holds, and its settings are in order."""

import base64
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

from common import ROOT, SWAIGATE, ask, free_port, in_order, is_ready, main, start, stop, wait_until

OVERLAYS = ["example", "several"]
# The oldest version that the page names, and a newer one.
VERSIONS = ["1.29", "1.34"]
GATEWAY = {"app.kubernetes.io/name": "swaigate", "app.kubernetes.io/component": "gateway"}
PODS = {"StatefulSet", "Deployment"}
# 32 bytes, as README.md has them made.
SECRETS = {
    "token-key": "0123456789abcdef0123456789abcdef",
    "gateway-password": "5c0f7e6b2d49183a7f60e1d2c3b4a596",
    "agent-password": "90ab12cd34ef56a77b88c99d00e1f2a3",
}


def built(overlay):
    """What `kubectl apply -k` would send, with secrets made for it."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "kubernetes"
        shutil.copytree(ROOT / "deploy/kubernetes", folder)
        for name, secret in SECRETS.items():
            (folder / "overlays/example/secrets" / name).write_text(secret + "\n", encoding="utf-8")
        done = subprocess.run(["kubectl", "kustomize", folder / "overlays" / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects, *kinds):
    return [thing for thing in objects if thing["kind"] in kinds]


def named(objects, kind, name):
    found = [thing for thing in of_kind(objects, kind) if thing["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: there are {len(found)}"
    return found[0]


def templates(objects):
    """The pods that there will be, by name."""
    return {thing["metadata"]["name"]: thing["spec"]["template"] for thing in of_kind(objects, *PODS)}


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]


def chosen(selector, template):
    """Whether a label selector chooses this pod."""
    assert set(selector) <= {"matchLabels"}, f"this test doesn't know {selector}"
    labels = template["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def kubernetes_knows_each_field():
    """kubernetes: each object fits Kubernetes' own schema"""
    for overlay in OVERLAYS:
        for thing in built(overlay):
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise AssertionError(f"{overlay}: {thing['kind']} {thing['metadata']['name']}: {error.message}") from error


def names_are_there():
    """kubernetes: what one object names in another is there"""
    for overlay in OVERLAYS:
        objects = built(overlay)
        pods = templates(objects)
        for thing in objects:
            assert thing["metadata"].get("namespace", "swaigate") == "swaigate", thing["metadata"]
        for template in pods.values():
            spec = template["spec"]
            if "serviceAccountName" in spec:
                named(objects, "ServiceAccount", spec["serviceAccountName"])
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            claims = [claim["metadata"]["name"] for set_ in of_kind(objects, "StatefulSet") for claim in set_["spec"]["volumeClaimTemplates"]]
            for volume in volumes.values():
                if "configMap" in volume:
                    named(objects, "ConfigMap", volume["configMap"]["name"])
                if "secret" in volume:
                    named(objects, "Secret", volume["secret"]["secretName"])
            for container in containers(template):
                for mount in container["volumeMounts"]:
                    assert mount["name"] in volumes or mount["name"] in claims, mount
        for service in of_kind(objects, "Service"):
            matching = [template for template in pods.values() if chosen({"matchLabels": service["spec"]["selector"]}, template)]
            assert len(matching) == 1, service["metadata"]["name"]
            ports = {port["name"] for container in containers(matching[0]) for port in container.get("ports", [])}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, service["metadata"]["name"]
        for stateful in of_kind(objects, "StatefulSet"):
            assert named(objects, "Service", stateful["spec"]["serviceName"])["spec"]["clusterIP"] == "None"
        for budget in of_kind(objects, "PodDisruptionBudget"):
            assert [name for name, template in pods.items() if chosen(budget["spec"]["selector"], template)] == ["swaigate"]
        for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            assert "replicas" not in named(objects, target["kind"], target["name"])["spec"], "the autoscaler's number is overwritten by each apply"
        for ingress in of_kind(objects, "Ingress"):
            backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            ports = named(objects, "Service", backend["name"])["spec"]["ports"]
            assert backend["port"]["name"] in {port["name"] for port in ports}


def pods_are_restricted():
    """kubernetes: each pod fits the restricted profile, on a read-only root, and knows nothing of the cluster"""
    for overlay in OVERLAYS:
        objects = built(overlay)
        enforced = named(objects, "Namespace", "swaigate")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        assert enforced == "restricted"
        for name, template in templates(objects).items():
            spec = template["spec"]
            assert spec["automountServiceAccountToken"] is False, name
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
            security = spec["securityContext"]
            assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
            for volume in spec["volumes"]:
                assert set(volume) & {"configMap", "secret", "emptyDir"}, f"{name}: {volume}"
            for container in containers(template):
                own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                assert container["securityContext"] == own, f"{name}: {container['name']}"
                assert {"cpu", "memory"} <= set(container["resources"]["requests"]), f"{name}: {container['name']}"
                assert "memory" in container["resources"]["limits"], f"{name}: {container['name']}"


def agents_are_behind_the_gateway():
    """kubernetes: no pod but the gateway's is let to an agent, and nothing is open that no policy names"""
    for overlay in OVERLAYS:
        objects = built(overlay)
        pods = templates(objects)
        policies = [policy["spec"] for policy in of_kind(objects, "NetworkPolicy")]
        closed = [spec for spec in policies if spec["podSelector"] == {} and set(spec) == {"podSelector", "policyTypes"}]
        assert [spec["policyTypes"] for spec in closed] == [["Ingress", "Egress"]], "what no policy names isn't closed"
        agents = {name: template for name, template in pods.items() if name != "swaigate"}
        assert agents, "there is no agent"
        for name, template in agents.items():
            rules = [rule for spec in policies if chosen(spec["podSelector"], template) for rule in spec.get("ingress", [])]
            assert rules, f"nobody is let to {name}"
            for rule in rules:
                for peer in rule["from"]:
                    assert set(peer) == {"podSelector"}, f"{name}: {peer}"
                    let_in = [other for other, pod in pods.items() if chosen(peer["podSelector"], pod)]
                    assert let_in == ["swaigate"] and peer["podSelector"]["matchLabels"] == GATEWAY, f"{name}: {peer}"
        out = [rule for spec in policies if chosen(spec["podSelector"], pods["swaigate"]) for rule in spec.get("egress", [])]
        peers = [peer["podSelector"] for rule in out for peer in rule["to"] if "podSelector" in peer]
        reached = [name for name, pod in agents.items() if any(chosen(peer, pod) for peer in peers)]
        assert set(reached) == set(agents), f"the gateway reaches only {reached}"


def settings_are_in_order():
    """kubernetes: the gateway's files, where they are mounted, are in order"""
    for overlay in OVERLAYS:
        objects = built(overlay)
        spec = templates(objects)["swaigate"]["spec"]
        gateway = next(container for container in spec["containers"] if container["name"] == "gateway")
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        with tempfile.TemporaryDirectory() as root:
            for mount in gateway["volumeMounts"]:
                volume = volumes.get(mount["name"], {})
                folder = Path(root + mount["mountPath"])
                folder.mkdir(parents=True)
                for name, text in named(objects, "ConfigMap", volume["configMap"]["name"])["data"].items() if "configMap" in volume else ():
                    (folder / name).write_text(text, encoding="utf-8")
                for name, text in named(objects, "Secret", volume["secret"]["secretName"])["data"].items() if "secret" in volume else ():
                    (folder / name).write_bytes(base64.b64decode(text))
                    (folder / name).chmod(0o440)
            config = gateway["args"][-1]
            in_order(root + config)
            for probe in ("startupProbe", "livenessProbe"):
                command = gateway[probe]["exec"]["command"]
                assert command[0] == "/usr/local/bin/swaigate" and command[-2:] == ["--config", config], command
            policy = yaml.safe_load(Path(root + "/etc/swaigate/policies/bank.yaml").read_text(encoding="utf-8"))
        host = policy["upstream"]["url"].removeprefix("http://").partition(":")[0]
        named(objects, "Service", host)


def changed_maps_are_taken_over():
    """kubernetes: a policy that changes in its ConfigMap is in force without a restart"""
    data = named(built("example"), "ConfigMap", "swaigate-policies")["data"]
    with tempfile.TemporaryDirectory() as work:
        listen, admin = free_port(), free_port()
        folder = Path(work) / "policies"
        (folder / "secrets").mkdir(parents=True)
        for name, secret in SECRETS.items():
            (folder / "secrets" / name).write_text(secret, encoding="utf-8")
        (Path(work) / "gateway.yaml").write_text(
            f'listen: [{{ address: "127.0.0.1:{listen}" }}]\nadmin: {{ address: "127.0.0.1:{admin}" }}\n', encoding="utf-8"
        )
        mounted = {name: text.replace("../secrets/", "secrets/") for name, text in data.items()}
        mount(folder, "..2026_11_24_1", mounted)
        gateway = start([SWAIGATE, "run", "--config", Path(work) / "gateway.yaml"], Path(work) / "gateway.log")
        try:
            wait_until("the gateway is ready", lambda: is_ready(admin))
            there, elsewhere = f"http://127.0.0.1:{listen}/bank", f"http://127.0.0.1:{listen}/moved"
            assert (ask(there)[0], ask(elsewhere)[0]) == (401, 404)
            mount(folder, "..2026_11_24_2", {name: text.replace("path: /bank", "path: /moved") for name, text in mounted.items()})
            wait_until("the change is in force", lambda: (ask(there)[0], ask(elsewhere)[0]) == (404, 401))
        finally:
            stop(gateway)


def mount(folder, version, data):
    """As the kubelet does: the files of a version in a folder of their own, and a link to it that is swapped."""
    (folder / version).mkdir()
    for name, text in data.items():
        (folder / version / name).write_text(text, encoding="utf-8")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").rename(folder / "..data")


def rules_that_remember_have_one_pod():
    """kubernetes: no rule that has to remember a call is in the policy of several gateways"""
    policy = yaml.safe_load(named(built("several"), "ConfigMap", "swaigate-policies")["data"]["bank.yaml"])
    for function, rules in policy["functions"].items():
        assert not {"requires", "confirm", "verify", "once"} & set(rules), function
    assert named(built("example"), "StatefulSet", "swaigate")["spec"]["replicas"] == 1


if not shutil.which("kubectl"):
    print("skipped  kubernetes: kubectl is not installed")
    sys.exit()
main(
    kubernetes_knows_each_field,
    names_are_there,
    pods_are_restricted,
    agents_are_behind_the_gateway,
    settings_are_in_order,
    changed_maps_are_taken_over,
    rules_that_remember_have_one_pod,
)
