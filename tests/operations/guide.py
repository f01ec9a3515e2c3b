"""The operator's guide: every block of commands is run, in order, before real agents; and commands elsewhere are parsed.

The machine of the guide is a folder: the paths that it names are moved there, and systemd is a script that does with the unit's
lines what systemd does with them.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from common import ROOT, SAMPLE_AGENT, SDK, SWAIGATE, Skipped, free_port, main

GUIDE = ROOT / "deploy/OPERATING.md"
PATHS = "/etc/swaigate", "/etc/systemd/system", "/var/lib/swaigate", "/var/log/swaigate", "/run/credentials", "/var/backups", "/usr/local/bin"

# What a block prints, by a part of its text: without it, a block that does nothing would pass.
TELLS = {
    "jq .\n": '"sections"',
    "grep -A 3 token_keys": 'id: "2"',
    'user "signalwire-2:': '"1.0.0"',
    'select(.user == "signalwire"': "Z",
    "/shop": "in order, with 2 policies",
    "--examples 20": "differently",
    "swaigate test ": "1 test",
    "swaigate explain bank get_balance | grep limits": '"allow":3',
    "select(.would_refuse)": "limited",
    "everything, incident 17": "4 emergency switches are on",
    "uniq -c | sort -rn | head -n 20": "credentials_wrong",
    'select(.call_id == "call-1")': "get_balance",
    "callers: { deny:": "caller_denied",
    "swaigate emergency off --why": "1 emergency switch is on",
    '.event == "switch" or': "mended, incident 17",
    "swaigate lockout list": "203.0.113.0/24",
    "--expected-head": "",
    "swaigate-new --version": "swaigate",
    '= "$old" ]': ": ready",
    "tar --extract": "caller +15551230001",
}

SYSTEMCTL = r"""#!/usr/bin/env bash
# systemd, as far as the guide needs it.
set -euo pipefail
shopt -s nullglob
unit=@ROOT/etc/systemd/system/swaigate.service
given=@ROOT/run/credentials/swaigate.service

begin() { # NAME COMMAND…
  local name=$1
  shift
  setsid "$@" >>@ROOT/"$name.log" 2>&1 </dev/null &
  echo $! >@ROOT/"$name.pid"
}
end() { # NAME
  local pid
  pid=$(cat @ROOT/"$1.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}
answers() { # URL
  for _ in $(seq 600); do
    [[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$1") == 200 ]] && return 0
    sleep 0.05
  done
  echo "$1 doesn't answer" >&2
  return 1
}
# The command given says by sd_notify that it is done; what it said so far is in a file, a line each.
notifies() {
  local before
  before=$(grep -c READY=1 @ROOT/notified || true)
  "$@"
  for _ in $(seq 600); do
    (($(grep -c READY=1 @ROOT/notified || true) > before)) && return 0
    sleep 0.05
  done
  echo "it doesn't say that it is ready" >&2
  return 1
}
start_one() {
  case $1 in
    swaigate)
      rm -rf "$given" && mkdir -p "$given"
      cat "$unit" "$unit".d/*.conf | sed -n 's/^LoadCredential=//p' | while IFS=: read -r name path; do
        install -m 0400 "$path" "$given/$name"
      done
      notifies begin swaigate @PYTHON @LAUNCH $(sed -n 's/^ExecStart=//p' "$unit") ;;
    bank-agent)
      export SWML_BASIC_AUTH_USER=agent SWML_BASIC_AUTH_PASSWORD_FILE=@ROOT/etc/swaigate/credentials/agent-password
      PORT=@BANK begin bank-agent @SDK @SAMPLE
      SWML_BASIC_AUTH_PASSWORD=$(cat "$SWML_BASIC_AUTH_PASSWORD_FILE") PORT=@SHOP AGENT_ROUTE=/shop begin shop-agent @SDK @OTHER
      answers http://127.0.0.1:@BANK/ready
      answers http://127.0.0.1:@SHOP/ready ;;
    *) echo "no unit $1" >&2; exit 5 ;;
  esac
}
stop_one() {
  end "$1"
  [[ $1 != bank-agent ]] || end shop-agent
}

verb=$1
shift
case $verb in
  daemon-reload) ;;
  start) for name; do start_one "$name"; done ;;
  stop) for name; do stop_one "$name"; done ;;
  restart) for name; do stop_one "$name"; done; for name; do start_one "$name"; done ;;
  reload)
    notifies $(sed -n 's/^ExecReload=//p' "$unit" | sed "s/\$MAINPID/$(cat @ROOT/swaigate.pid)/")
    ! grep 'configuration' @ROOT/swaigate.log | tail -n 1 | grep -q 'stays' ;;
  show) [[ $* == "--property MainPID --value swaigate" ]] && cat @ROOT/swaigate.pid ;;
  status) kill -0 "$(cat @ROOT/swaigate.pid)" ;;
  *) echo "systemctl $verb?" >&2; exit 1 ;;
esac
"""

# The listening socket that systemd keeps, as descriptor 3.
LAUNCH = """
import os, sys
os.dup2(@SOCKET, 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET="@ROOT/notify")
os.execv(sys.argv[1], sys.argv[1:])
"""


def blocks(page):
    """Its blocks of commands, each with the heading that it is under."""
    found, heading, block = [], "", None
    for line in page.read_text(encoding="utf-8").splitlines(keepends=True):
        if block is not None:
            if line == "```\n":
                found.append((heading, "".join(block)))
                block = None
            else:
                block.append(line)
        elif line == "```sh\n":
            block = []
        elif line.startswith("#"):
            heading = line.strip("# \n")
    return found


class Machine:
    """A folder that stands for a machine on which deploy/systemd is installed."""

    def __init__(self, folder):
        self.root = folder
        self.ports = {443: free_port(), 9901: free_port(), 3000: free_port(), 3001: free_port()}
        for path in PATHS:
            (folder / path[1:]).mkdir(parents=True)
        etc, units, bin_ = (folder / path[1:] for path in ("/etc/swaigate", "/etc/systemd/system", "/usr/local/bin"))
        for name in ("gateway.yaml", "policies/bank.yaml"):
            self.install(f"systemd/{name}", etc / name)
        for name in ("swaigate.service", "swaigate.socket"):
            self.install(f"systemd/{name}", units / name)
        with open(etc / "gateway.yaml", "a", encoding="utf-8") as file:
            file.write(f'\nadmin: {{ address: "127.0.0.1:{self.ports[9901]}" }}\n')
        (etc / "credentials").mkdir(mode=0o700)
        for name in re.findall(r"^LoadCredential=([^:]+):", (units / "swaigate.service").read_text(encoding="utf-8"), flags=re.M):
            (etc / "credentials" / name).write_text(os.urandom(24).hex() + "\n", encoding="utf-8")
        for place in (bin_, folder / "var/lib/swaigate-new"):
            place.mkdir(exist_ok=True)
            shutil.copy(SWAIGATE, place / "swaigate")
        self.certify(etc / "tls")
        self.listen((units / "swaigate.socket").read_text(encoding="utf-8"))
        self.add_commands(bin_)

    def install(self, source, target):
        target.parent.mkdir(exist_ok=True)
        target.write_text(self.moved((ROOT / "deploy" / source).read_text(encoding="utf-8")), encoding="utf-8")

    def certify(self, folder):
        """A certificate for the guide's host, which curl believes and finds at this machine."""
        folder.mkdir()
        names = "-subj /CN=agents.example.com -addext subjectAltName=DNS:agents.example.com".split()
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *names]
        made += ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
        subprocess.run(made, check=True, capture_output=True)
        (self.root / ".curlrc").write_text(
            f'cacert = "{folder}/fullchain.pem"\nconnect-to = "agents.example.com:443:127.0.0.1:{self.ports[443]}"\n', encoding="utf-8"
        )

    def listen(self, unit):
        """Opens what the socket unit says, and hears what the service says."""
        host, port = re.search(r"^ListenStream=(.*):(\d+)$", unit, flags=re.M).groups()
        self.socket = socket.create_server((host, int(port)), backlog=4096)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.root / "notify"))
        (self.root / "notified").touch()
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while said := self.notify.recv(4096).decode():
            if main_pid := re.search(r"^MAINPID=(\d+)$", said, flags=re.M):
                (self.root / "swaigate.pid").write_text(main_pid[1], encoding="utf-8")
            with open(self.root / "notified", "a", encoding="utf-8") as file:
                file.write(said + "\n")

    def add_commands(self, bin_):
        """Those of the machine that are not ours."""
        known = {
            "@ROOT": self.root, "@BANK": self.ports[3000], "@SHOP": self.ports[3001], "@SOCKET": self.socket.fileno(),
            "@SDK": SDK, "@SAMPLE": SAMPLE_AGENT, "@OTHER": ROOT / "tests/agents/bank_agent.py",
            "@PYTHON": sys.executable, "@LAUNCH": self.root / "launch.py",
        }  # fmt: skip
        texts = {bin_ / "systemctl": SYSTEMCTL, bin_ / "journalctl": "#!/bin/sh\ncat @ROOT/swaigate.log\n", self.root / "launch.py": LAUNCH}
        for file, text in texts.items():
            for word, value in known.items():
                text = text.replace(word, str(value))
            file.write_text(text, encoding="utf-8")
            file.chmod(0o755)

    def moved(self, text):
        """With the paths and ports of this machine."""
        text = re.sub("|".join(re.escape(path) for path in PATHS), lambda path: f"{self.root}{path[0]}", text)
        text = text.replace("0.0.0.0:443", "127.0.0.1:443")
        return re.sub(r"127\.0\.0\.1:(443|9901|3000|3001)\b", lambda at: f"127.0.0.1:{self.ports[int(at[1])]}", text)

    def run(self, block):
        """Its output; it has to end well."""
        # `doctor` ends with 1 where it finds a weakness, as the guide says: the sample agent has some.
        known = 'swaigate() { command swaigate "$@" || [[ $1 == doctor && $? == 1 ]]; }\n'
        path = f"{self.root}/usr/local/bin:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "USER": "operator", "CURL_HOME": str(self.root)}
        command = ["bash", "-euo", "pipefail", "-c", known + self.moved(block)]
        kept = [self.socket.fileno()]
        done = subprocess.run(command, cwd=self.root, env=environment, pass_fds=kept, capture_output=True, text=True, timeout=120, check=False)
        log = self.root / "swaigate.log"
        last = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-5:]) if log.exists() else ""
        assert done.returncode == 0, f"status {done.returncode} of\n{block}\n{done.stdout}{done.stderr}\n{last}"
        return done.stdout

    def end(self):
        self.run("systemctl stop swaigate bank-agent")
        self.socket.close()

    def forget(self):
        """Another machine, on which the gateway has never run."""
        self.run("systemctl stop swaigate")
        for folder in ("var/lib/swaigate", "var/log/swaigate", "etc/swaigate"):
            shutil.rmtree(self.root / folder)

    def call(self):
        """A caller's call, and a stranger who guesses."""
        password = (self.root / "etc/swaigate/credentials/gateway-password").read_text(encoding="utf-8").strip()
        call = {"call": {"call_id": "call-1", "direction": "inbound", "from": "+15551230001", "to": "+15559990000"}}
        document = self.post("https://agents.example.com/bank", call, f"signalwire:{password}")
        ai = next(verb["ai"] for verb in json.loads(document)["sections"]["main"] if "ai" in verb)
        url = ai["SWAIG"]["functions"][0]["web_hook_url"]
        for account in range(6):
            argument = {"parsed": [{"account": f"012345678{account}"}]}
            self.post(url, {"function": "get_balance", "call_id": "call-1", "caller_id_num": "+15551230001", "argument": argument})
        self.run("! curl --fail --silent --user signalwire:a-wrong-password https://agents.example.com/bank")

    def post(self, url, body, user=""):
        file = self.root / "body.json"
        file.write_text(json.dumps(body), encoding="utf-8")
        user = f"--user {user}" if user else ""
        return self.run(f"curl --fail --silent {user} --header 'Content-Type: application/json' --data @{file} '{url}'")


def each_block_works():
    """guide: every block of deploy/OPERATING.md does what it says, in order"""
    if not SDK.exists() or not shutil.which("jq"):
        raise Skipped("tests/setup hasn't run, or jq is not installed")
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        told = set()
        try:
            machine.run("systemctl start bank-agent swaigate")
            sections = set()
            for heading, block in blocks(GUIDE):
                if heading not in sections and heading in ("Rotate a token key", "Tighten a policy", "An incident, from alert to all-clear"):
                    machine.call()
                if "select(.would_refuse)" in block:
                    machine.call()
                if "swaigate state import" in block:
                    machine.forget()
                sections.add(heading)
                output = machine.run(block)
                for part, expected in TELLS.items():
                    if part in block:
                        told.add(part)
                        assert expected in output, f"`{expected}` is not in what this prints:\n{block}\n{output}"
        finally:
            machine.end()
        assert told == set(TELLS), f"no block has {set(TELLS) - told}"


def commands_are_commands():
    """guide: every `swaigate …` in the pages is a command with options that it has"""
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", ROOT / "policies/README.md", *(ROOT / "deploy").rglob("*.md")]
    wrong, seen = [], set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        lines = [line for _, block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
        spans = [span for span in re.findall(r"`(swaigate [^`\n]+)`", text) if not re.search(r"[…|]", span)]
        for line in [*lines, *spans]:
            for arguments in arguments_in(line):
                if tuple(arguments) in seen:
                    continue
                seen.add(tuple(arguments))
                done = subprocess.run([SWAIGATE, *arguments, "--help"], capture_output=True, text=True, check=False)
                # In running text, an option may be named without its value; and a value may be left for the reader to fill in.
                named = line in spans and "a value is required" in done.stderr
                left_open = re.search("invalid value '[^']*[…$]", done.stderr)
                if done.returncode != 0 and not named and not left_open:
                    wrong.append(f"{page.relative_to(ROOT)}: {line.strip()}\n           {done.stderr.splitlines()[0]}")
    assert len(seen) > 20, f"only {len(seen)} commands were found"
    assert not wrong, "\n         ".join(wrong)


def arguments_in(line):
    """What follows each `swaigate` that is a command of this line."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    words.whitespace_split = True
    try:
        words = list(words)
    except ValueError:  # a text that goes on in the next line
        return
    for at, word in enumerate(words[:-1]):
        begins = at == 0 or re.fullmatch(r"[|&;<>()]+|sudo|do|then", words[at - 1])
        named = word.endswith("/bin/swaigate") and not words[at + 1].startswith("/")
        if named or (begins and word in ("swaigate", "swaigate-new")):
            rest = words[at + 1 :]
            end = next((index for index, word in enumerate(rest) if re.fullmatch(r"[|&;<>()]+|END", word)), len(rest))
            yield rest[:end]


main(commands_are_commands, each_block_works)
