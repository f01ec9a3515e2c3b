"""deploy/compose: what its page says of it holds, and its settings protect its agent."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from common import ROOT, SAMPLE_AGENT, SDK, SWAIGATE, Skipped, ask, believe, free_port, in_order, is_ready, main, start, start_agent, stop, wait_until

COMPOSE = ROOT / "deploy/compose"
SECRETS = {
    "token-key": "0123456789abcdef0123456789abcdef",
    "gateway-password": "5c0f7e6b2d49183a7f60e1d2c3b4a596",
    "agent-password": "90ab12cd34ef56a77b88c99d00e1f2a3",
    "grafana-password": "e4d3c2b1a0f9e8d7c6b5a4938271605f",
}


def copied(work):
    """A copy with secrets, as README.md makes them."""
    shutil.copytree(ROOT / "deploy", work / "deploy")
    for name, secret in SECRETS.items():
        file = work / "deploy/compose/secrets" / name
        file.write_text(secret + "\n", encoding="utf-8")
        file.chmod(0o400)
    return work / "deploy/compose"


def read_by_compose():
    """compose: docker-compose reads the file"""
    if not shutil.which("docker-compose"):
        raise Skipped("docker-compose is not installed")
    with tempfile.TemporaryDirectory() as work:
        folder = copied(Path(work))
        done = subprocess.run(["docker-compose", "-f", folder / "compose.yaml", "config", "--quiet"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def services_are_hardened():
    """compose: no service has a capability, a writable root or a secret in its environment"""
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "pid" not in service, name
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"(PASSWORD|KEY|TOKEN|SECRET)$", variable), f"{name}: {variable} is a secret"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or (name, port) == ("gateway", "443:8443"), f"{name}: {port} is open to others"
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"] and secret in SECRETS, f"{name}: {secret}"


def agent_is_behind_the_gateway():
    """compose: the agent can be reached through the gateway only"""
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    agent = compose["services"]["agent"]
    assert "ports" not in agent and "network_mode" not in agent
    for network in agent["networks"]:
        assert compose["networks"][network] == {"internal": True}, network
        others = {name for name, service in compose["services"].items() if network in service.get("networks", [])}
        assert others == {"agent", "gateway"}, f"{network}: {others}"


def grafana_finds_prometheus():
    """compose: Grafana has the shipped data source, but for where Prometheus is, and the shipped dashboard"""
    ours, shipped = (
        yaml.safe_load((ROOT / "deploy" / file).read_text(encoding="utf-8"))["datasources"]
        for file in ("compose/grafana/prometheus.yml", "grafana/provisioning/datasources/prometheus.yml")
    )
    assert ours == [{**shipped[0], "url": "http://gateway:9090"}], ours
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services["prometheus"]["network_mode"] == "service:gateway"
    assert set(services["grafana"]["networks"]) & set(services["gateway"]["networks"])
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"] if volume.startswith("."))
    for source in mounted:
        assert (COMPOSE / source).is_dir(), source
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/swaigate.yml").read_text(encoding="utf-8"))["providers"][0]
    assert provider["options"]["path"] == mounted["../grafana"] and (ROOT / "deploy/grafana/dashboard.json").exists()


def settings_protect_the_agent():
    """compose: the gateway runs with its settings, and its agent answers through it"""
    with tempfile.TemporaryDirectory() as work:
        folder = copied(Path(work))
        listen, admin, agent = free_port(), free_port(), free_port()
        replaced = {
            "/run/secrets/": f"{folder}/secrets/",
            "/var/lib/swaigate": f"{work}/state",
            "/var/log/swaigate": f"{work}/audit",
            "http://agent:3000": f"http://127.0.0.1:{agent}",
            "/etc/swaigate-tls/": f"{folder}/tls/",
            "0.0.0.0:8443": f"127.0.0.1:{listen}",
        }
        config = folder / "settings/gateway.yaml"
        for file in [config, folder / "settings/policies/bank.yaml"]:
            text = file.read_text(encoding="utf-8")
            for old, new in replaced.items():
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")
        assert str(listen) in config.read_text(encoding="utf-8"), "the listener of gateway.yaml has changed"
        config.write_text(config.read_text(encoding="utf-8") + f'admin: {{ address: "127.0.0.1:{admin}" }}\n', encoding="utf-8")
        certify(folder / "tls")
        in_order(config)

        if not SDK.exists():
            raise Skipped("tests/setup hasn't run")
        processes = []
        try:
            from_file = {"SWML_BASIC_AUTH_PASSWORD_FILE": str(folder / "secrets/agent-password")}
            processes.append(start_agent(SAMPLE_AGENT, agent, "taken from the file", Path(work) / "agent.log", **from_file))
            processes.append(start([SWAIGATE, "run", "--config", config], Path(work) / "gateway.log"))
            wait_until("the gateway is ready", lambda: is_ready(admin))
            talk(f"https://127.0.0.1:{listen}/bank")
        finally:
            statuses = [stop(process) for process in reversed(processes)]
        assert statuses[0] == 0, (Path(work) / "gateway.log").read_text(encoding="utf-8")


def talk(url):
    """A call through the gateway: its document, one of its functions, and what a stranger gets."""
    call = {"call": {"call_id": "call-1", "direction": "inbound", "from": "+15551230001", "to": "+15559990000"}}
    status, document = ask(url, json.dumps(call).encode(), user=f"signalwire:{SECRETS['gateway-password']}")
    assert status == 200 and SECRETS["agent-password"] not in document, (status, document)
    ai = next(verb["ai"] for verb in json.loads(document)["sections"]["main"] if "ai" in verb)
    function = ai["SWAIG"]["functions"][0]
    to = re.fullmatch(r"https://([^@]+)@agents\.example\.com(/.*)", function["web_hook_url"])
    assert to, function
    body = {"function": "get_balance", "call_id": "call-1", "caller_id_num": "+15551230001", "argument": {"parsed": [{"account": "0123456789"}]}}
    origin = url.removesuffix("/bank")
    status, answer = ask(origin + to[2], json.dumps(body).encode(), user=to[1])
    assert status == 200 and "$150.00" in answer, (status, answer)
    assert ask(url)[0] == 401
    assert ask(origin + "/bank/swaig", json.dumps(body).encode(), user=f"signalwire:{SECRETS['gateway-password']}")[0] == 403


def certify(folder):
    """A certificate as the page has it installed; that it is the gateway's own is what `ask` believes here."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=agents.example.com"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:agents.example.com"]
    made += ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    subprocess.run(made, check=True, capture_output=True)
    believe(folder / "fullchain.pem")


main(read_by_compose, services_are_hardened, agent_is_behind_the_gateway, grafana_finds_prometheus, settings_protect_the_agent)
