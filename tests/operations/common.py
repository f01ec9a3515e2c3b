"""What the checks of deploy/ share: folders, free ports, the program, a real agent before it."""

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SWAIGATE = Path(os.environ.get("SWAIGATE", ROOT / "target/debug/swaigate")).resolve()
SDK = ROOT / "tests/.cache/venv/sdk/bin/python"
SAMPLE_AGENT = ROOT / "deploy/compose/agent/agent.py"

# How long anything here may take to come up or to end, in seconds.
PATIENCE = 30

TRUST = ssl.create_default_context()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds):
    """Asks until it holds, or fails with what was waited for."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def believe(certificate):
    """From now on `ask` takes what this certificate vouches for."""
    TRUST.load_verify_locations(certificate)


def ask(url, body=None, user=None, headers=None, method=None):
    """Status and text of the answer; status 0 if there is none."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, context=TRUST) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def start(command, log, **options):
    """A process whose output goes to a file."""
    with open(log, "ab") as output:
        return subprocess.Popen([str(word) for word in command], stdout=output, stderr=output, **options)


def stop(process):
    """Ends it as an operator would. Its status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def start_agent(program, port, password, log, **environment):
    """A real agent of the SDK's, that asks for user `agent` and this password."""
    known = {"PORT": str(port), "SWML_BASIC_AUTH_USER": "agent", "SWML_BASIC_AUTH_PASSWORD": password}
    process = start([SDK, program], log, env={**os.environ, **known, **environment}, cwd=log.parent)
    wait_until("the agent is ready", lambda: ask(f"http://127.0.0.1:{port}/ready")[0] == 200)
    return process


def is_ready(admin):
    return ask(f"http://127.0.0.1:{admin}/readyz")[0] == 200


class Skipped(Exception):
    """What a check needs isn't there."""


def in_order(config):
    """`swaigate check` finds neither a mistake nor anything unwise that it tells of in its last line."""
    checked = subprocess.run([SWAIGATE, "check", "--config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "in order, with " in checked.stdout, checked.stdout


def main(*checks):
    """Runs them all; each is told, and one that fails makes the status 1."""
    failed = False
    for check in checks:
        says = check.__doc__.splitlines()[0]
        try:
            check()
            print(f"ok       {says}", flush=True)
        except Skipped as reason:
            print(f"skipped  {says}: {reason}", flush=True)
        except AssertionError as error:
            failed = True
            print(f"FAILED   {says}\n         {error}", flush=True)
    sys.exit(failed)
