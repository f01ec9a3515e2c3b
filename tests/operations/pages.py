"""The pages: links lead somewhere, paths that SECURITY.md names are there, every reason and alert has its advice."""

import re
import subprocess

import yaml

from common import ROOT, main

# A name of a file or folder in a table of SECURITY.md begins with one of these; what it stands for.
SHORT = {
    "core/": "gateway/core/src/",
    "proxy/": "gateway/proxy/src/",
    "golden/": "tests/golden/",
    "e2e/": "tests/e2e/",
    "gateway/": "gateway/",
    "tests/": "tests/",
    "deploy/": "deploy/",
    "policies/": "policies/",
}


def pages():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_lead_somewhere():
    """pages: every link to a file or a heading leads there"""
    dead = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert not dead, "\n         ".join(dead)


def security_names_what_is_there():
    """SECURITY.md: every path that it names is there"""
    missing = []
    for span in re.findall(r"`([^`\n]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")):
        short = next((short for short in SHORT if span.startswith(short)), None)
        if short is None or not re.fullmatch(r"[\w./*-]+", span):
            continue
        path = SHORT[short] + span.removeprefix(short)
        found = (ROOT / path).exists() or any((ROOT / path).parent.glob((ROOT / path).name + ("" if "*" in path else ".*")))
        if not found:
            missing.append(span)
    assert not missing, f"not there: {missing}"


def checklist_is_linked():
    """SECURITY.md: each line of the production checklist has a link to its setting and to its test"""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = text.split("## The guide's production checklist", 1)[1].split("\n## ", 1)[0]
    rows = [cells(row) for row in table.splitlines() if row.startswith("| ") and "**" not in row]
    lines = [row for row in rows if row[0] != "line"]
    assert len(lines) == 19, f"the guide's checklist has 19 lines, the table {len(lines)}"
    for row in lines:
        line, _, setting, _, test, _ = row
        assert "](" in setting, f"{line}: no link to a setting or page: {setting}"
        assert "](" in test, f"{line}: no link to a test: {test}"


def reasons_have_advice():
    """policies/README.md: every reason says what to do about it"""
    reasons = re.findall(r'=> "([a-z_]+)",', (ROOT / "gateway/core/src/reason.rs").read_text(encoding="utf-8"))
    assert len(reasons) > 40, "the list in reason.rs can't be read"
    table = (ROOT / "policies/README.md").read_text(encoding="utf-8").split("\n# Reasons\n", 1)[1].split("\n# ", 1)[0]
    rows = {row.split("`")[1]: cells(row) for row in table.splitlines() if row.startswith("| `")}
    assert set(rows) == set(reasons), f"the table and reason.rs differ in {set(rows) ^ set(reasons)}"
    for reason, row in rows.items():
        assert len(row) == 6 and (len(row[5]) > 3 or reason == "ok"), f"{reason}: what to do?"


def cells(row):
    """Those of a row of a table."""
    return re.split(r" *(?<!\\)\| *", row.strip()[1:-1].strip())


def alerts_have_advice():
    """deploy/OPERATING.md: every alert has a section, and no other has one"""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    guide = (ROOT / "deploy/OPERATING.md").read_text(encoding="utf-8").split("\n## Alerts\n", 1)[1]
    sections = set(re.findall(r"^### (\w+)$", guide, flags=re.M))
    assert sections == alerts, f"they differ in {sections ^ alerts}"


main(
    links_lead_somewhere,
    security_names_what_is_there,
    checklist_is_linked,
    reasons_have_advice,
    alerts_have_advice,
)
