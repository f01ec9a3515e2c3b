"""The sidecar of deploy/kubernetes: what of the admin address it shows, and what it doesn't."""

import shutil
import sys
import tempfile
from pathlib import Path

from common import ROOT, SWAIGATE, ask, free_port, is_ready, main, start, stop, wait_until


def shows_numbers_and_nothing_else():
    """kubernetes: the sidecar shows metrics and health, and nothing of the admin API"""
    with tempfile.TemporaryDirectory() as work:
        listen, admin, shown = free_port(), free_port(), free_port()
        folder = Path(work)
        (folder / "policies").mkdir()
        (folder / "policies/bank.yaml").write_text('agent: bank\nupstream: { url: "http://127.0.0.1:1" }\n', encoding="utf-8")
        (folder / "gateway.yaml").write_text(
            f'listen: [{{ address: "127.0.0.1:{listen}" }}]\nadmin: {{ address: "127.0.0.1:{admin}" }}\n', encoding="utf-8"
        )
        text = (ROOT / "deploy/kubernetes/base/metrics.conf").read_text(encoding="utf-8")
        for old, new in {"listen 9902": f"listen 127.0.0.1:{shown}", "127.0.0.1:9901": f"127.0.0.1:{admin}", "/tmp/": f"{work}/"}.items():
            assert old in text, f"metrics.conf lacks {old}"
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        gateway = start([SWAIGATE, "run", "--config", folder / "gateway.yaml"], folder / "gateway.log")
        nginx = start([NGINX, "-e", "stderr", "-g", "daemon off;", "-c", folder / "nginx.conf"], folder / "nginx.log")
        try:
            wait_until("the gateway is ready", lambda: is_ready(admin))
            wait_until("the sidecar answers", lambda: ask(f"http://127.0.0.1:{shown}/healthz")[0] == 200)
            origin = f"http://127.0.0.1:{shown}"
            assert ask(f"{origin}/readyz") == (200, "ready\n")
            status, text = ask(f"{origin}/metrics")
            assert status == 200 and "\nswaigate_" in text, text
            token = {"Authorization": "Bearer " + (folder / "state/admin.token").read_text(encoding="utf-8").strip()}
            assert ask(f"http://127.0.0.1:{admin}/v1/switches", headers=token)[0] == 200
            for path in ("/v1/switches", "/metrics/../v1/switches", "//v1/switches", "/version", "/", "/metrics/"):
                assert ask(origin + path, headers=token)[0] in (400, 404), path
            assert ask(f"{origin}/metrics", body=b"{}", headers=token)[0] == 403
        finally:
            for process in (nginx, gateway):
                stop(process)


NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
if NGINX is None:
    print("skipped  kubernetes: the sidecar: nginx is not installed")
    sys.exit()
main(shows_numbers_and_nothing_else)
