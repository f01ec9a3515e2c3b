"""deploy/docker: the Dockerfile, and the program where it is as alone as in the image."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, SWAIGATE, Skipped, ask, free_port, is_ready, main, start, stop, wait_until

IMAGES = ROOT / "deploy/docker/Dockerfile", ROOT / "deploy/compose/agent/Dockerfile"
USER = "65532"


def linted():
    """image: hadolint finds nothing in the Dockerfiles"""
    for image in IMAGES:
        done = subprocess.run([Path(sys.prefix) / "bin/hadolint", image], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def last_stage():
    text = (ROOT / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
    return text[text.rindex("\nFROM ") :]


def says_what_the_page_says():
    """image: a user without rights, no shell, and a health check by the program itself"""
    stage = last_stage()
    assert re.search(r"^FROM gcr\.io/distroless/cc-debian12:nonroot$", stage, flags=re.M)
    assert "RUN " not in stage, "the last stage has no shell"
    assert re.search(rf"^USER {USER}:{USER}$", stage, flags=re.M)
    assert re.search(r'^ENTRYPOINT \["/usr/local/bin/swaigate"\]$', stage, flags=re.M)
    assert health_check()[0] == "/usr/local/bin/swaigate"
    for image in IMAGES:
        for base in re.findall(r"^FROM (\S+)", image.read_text(encoding="utf-8"), flags=re.M):
            assert ":" in base and not base.endswith(":latest"), f"{image.name}: {base} is any version"


def health_check():
    found = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", last_stage(), flags=re.M)
    assert found, "there is no HEALTHCHECK"
    return re.findall(r'"([^"]*)"', found[1])


def context_is_whole():
    """image: what .dockerignore lets through is a workspace, without a secret"""
    kept = []
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            kept.append(line[1:])
    with tempfile.TemporaryDirectory() as context:
        for name in kept:
            source = ROOT / name
            assert source.exists(), f"{name} is not there"
            ignored = shutil.ignore_patterns("fuzz", "target")
            shutil.copytree(source, Path(context) / name, ignore=ignored) if source.is_dir() else shutil.copy(source, context)
        # What the program is compiled with, also from outside of its crates.
        for file in Path(context).glob("gateway/*/src/**/*.rs"):
            product = file.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
            for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', product):
                assert (file.parent / path).exists(), f"{file.name} needs {path}"
        command = ["cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]
        done = subprocess.run(command, cwd=context, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def runs_alone():
    """image: the program runs as nobody, without rights, on a read-only root with nothing but the C library"""
    if os.geteuid() != 0:
        raise Skipped("only root can give it a root of its own")
    with tempfile.TemporaryDirectory() as work:
        root, state, audit = (Path(work) / name for name in ("root", "state", "audit"))
        listen, admin = free_port(), free_port()
        furnish(root, listen, admin)
        for folder in (state, audit):
            folder.mkdir(mode=0o700)
            os.chown(folder, int(USER), int(USER))
        os.chmod(work, 0o755)
        bind = f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && mount --rbind /proc {root}/proc"
        binds = f"mount --bind {state} {root}/var/lib/swaigate && mount --bind {audit} {root}/var/log/swaigate"
        inside = ["setpriv", "--no-new-privs", "chroot", f"--userspec={USER}:{USER}", "--groups=", str(root)]
        command = [*inside, "/usr/local/bin/swaigate", "run", "--config", "/etc/swaigate/gateway.yaml"]
        log = Path(work) / "gateway.log"
        process = start(["unshare", "--mount", "sh", "-c", f'{bind} && {binds} && exec "$@"', "sh", *command], log)
        try:
            wait_until(f"the gateway is ready: {log}", lambda: process.poll() is not None or is_ready(admin))
            assert process.poll() is None, log.read_text(encoding="utf-8")
            healthy = ["nsenter", "--target", str(process.pid), "--mount", "--", *inside, *health_check()]
            done = subprocess.run(healthy, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            assert re.search(rf"^Uid:\s+{USER}\s", status, flags=re.M) and re.search(r"^CapEff:\s+0+$", status, flags=re.M), status
            assert ask(f"http://127.0.0.1:{listen}/bank")[0] == 401
        finally:
            ended = stop(process)
        assert ended == 0, log.read_text(encoding="utf-8")


def furnish(root, listen, admin):
    """What the image has: the program, the C library, the root certificates; and settings as they would be mounted."""
    linked = subprocess.run(["ldd", SWAIGATE], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"(/\S+) \(0x", linked)
    allowed = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    assert {Path(library).name for library in needed} <= allowed, f"distroless cc doesn't have all of {needed}"
    for file in [*needed, "/etc/ssl/certs/ca-certificates.crt"]:
        if Path(file).exists():
            (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / file[1:])
    (root / "usr/local/bin").mkdir(parents=True)
    shutil.copy(SWAIGATE, root / "usr/local/bin/swaigate")
    for folder in ("proc", "var/lib/swaigate", "var/log/swaigate", "etc/swaigate/policies"):
        (root / folder).mkdir(parents=True)
    (root / "etc/swaigate/gateway.yaml").write_text(
        f'listen: [{{ address: "127.0.0.1:{listen}" }}]\nadmin: {{ address: "127.0.0.1:{admin}" }}\n'
        "state: { embedded: { path: /var/lib/swaigate } }\naudit: { path: /var/log/swaigate/audit.jsonl }\n",
        encoding="utf-8",
    )
    (root / "etc/swaigate/policies/bank.yaml").write_text(
        'agent: bank\nmatch: { path: /bank }\nupstream: { url: "http://127.0.0.1:1" }\n', encoding="utf-8"
    )


main(linted, says_what_the_page_says, context_is_whole, runs_alone)
