"""A hand-written agent that misbehaves on request, for what no SDK would send.

The scenario is the first path segment under /broken/. Below it lie the endpoints of an agent: `` (the SWML document),
`/swaig` (tool calls) and whatever else a document points at (summary, debug, status: `{"success": true}`).
The query of the document's request is carried over to the URLs in it, so options reach the tools too.

Documents, each sent as it should be:
  plain          one tool, check_order, with its own web_hook_url; post prompt
  defaults       tools without a URL: SWAIG.defaults.web_hook_url with web_hook_auth_user and web_hook_auth_password
  shared-url     three tools on one URL, no meta_data_token; a fourth with a meta_data_token of its own
  odd-urls       upper-case scheme and host, `@` in the password, %3D and empty values in the query, a bare `?`,
                 a fragment, `${base}/x`, a doubled slash, an address nobody owns
  includes       SWAIG.includes; /swaig answers `action: get_signature` with definitions
  verbs          URLs outside of the ai verb: execute, transfer, connect, request, play, record_call, queue, conference
  actions        SWAIG answers with an action named by ?form=: object, array, text, raw, transfer, redirect, playback, sms
  no-ai          a document without an ai verb

Misbehaviour: `<name>` spoils the document, `swaig-<name>` the answers of /swaig, `summary-<name>` everything below it
but /swaig; the rest of that scenario is `plain`:
  not-json  truncated-json  duplicate-keys  not-utf8  not-an-object  too-deep (?depth=)  nan
  empty  html  yaml (plain, by hand)  yaml-alias  wrong-type  gzip (sent though nobody asked)
  redirect (?code=302&to=)  unauthorized  forbidden  not-found  server-error (?code=500)  no-content
  too-large (?bytes=, ?chunked=1)  drip (?ms= before each byte)  silent (?seconds= before anything)
  flaky (500 for the first ?fails= requests with these bytes, then well)
  cut-head (closed before an answer)  cut-body (half of the promised body)  cut-chunk (chunks without an end)
  bad-head (no HTTP)  two-lengths (two Content-Length that differ)  big-head (?bytes= of headers)

Environment: PORT (0: any; the real one is printed), SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD (unset: open),
AGENT_LOG: every request as one JSON line, with method, raw path, all headers, body length and body.
"""

import base64
import gzip
import hmac
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
USER = os.environ.get("SWML_BASIC_AUTH_USER", "")
PASSWORD = os.environ.get("SWML_BASIC_AUTH_PASSWORD", "")
AGENT_LOG = os.environ.get("AGENT_LOG")
_log_lock = threading.Lock()
_seen = Counter()


@dataclass
class Request:
    scenario: str
    endpoint: str  # "" for the document, else "swaig", "post_prompt" ...
    query: dict
    raw_query: str
    body: bytes
    port: int

    def option(self, name, default):
        return type(default)(self.query.get(name, default))

    def origin(self):
        return f"http://{HOST}:{self.port}"

    def url(self, endpoint, scenario=None):
        """An URL below this scenario, with credentials, as SDKs write them."""
        userinfo = f"{USER}:{PASSWORD}@" if USER else ""
        query = f"?{self.raw_query}" if self.raw_query else ""
        return f"http://{userinfo}{HOST}:{self.port}/broken/{scenario or self.scenario}{endpoint}{query}"


@dataclass
class Reply:
    body: bytes
    status: int = 200
    headers: dict = field(default_factory=lambda: {"Content-Type": "application/json"})
    pause: float = 0  # seconds before each byte
    chunked: bool = False
    promise: int | None = None  # Content-Length, where it isn't the body's
    raw: bytes | None = None  # instead of all the above, as it stands


# --- Documents ---


def swml(*verbs):
    return {"version": "1.0.0", "sections": {"main": [{"answer": {}}, *verbs]}}


def ai(swaig, **rest):
    return {"ai": {"prompt": {"text": "You take orders."}, "SWAIG": swaig, **rest}}


def tool(name, **rest):
    parameters = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
    return {"function": name, "description": f"The tool {name}.", "parameters": parameters, **rest}


def plain(request):
    return swml(ai(
        {"functions": [tool("check_order", web_hook_url=request.url("/swaig"))]},
        post_prompt={"text": "Summarize."},
        post_prompt_url=request.url("/post_prompt"),
    ))


def defaults(request):
    url = f"{request.origin()}/broken/defaults/swaig"
    credentials = {"web_hook_auth_user": USER, "web_hook_auth_password": PASSWORD}
    return swml(ai({
        "defaults": {"web_hook_url": url, **credentials},
        "functions": [
            tool("check_order"),
            tool("cancel_order"),
            tool("own_url", web_hook_url=f"{url}?own=1", web_hook_auth_user=USER, web_hook_auth_pass=PASSWORD),
        ],
    }))


def shared_url(request):
    url = request.url("/swaig")
    names = ["check_order", "cancel_order", "track_order"]
    return swml(ai({"functions": [
        *(tool(name, web_hook_url=url) for name in names),
        tool("own_token", web_hook_url=url, meta_data_token="orders"),
    ]}))


def odd_urls(request):
    port, path = request.port, "/broken/odd-urls/swaig"
    urls = {
        "upper_case": f"HTTP://LOCALHOST:{port}{path}",
        "at_in_password": f"http://user:p@ss@{HOST}:{port}{path}",
        "encoded_query": f"http://{HOST}:{port}{path}?__token=YWJj%3D%3D&a=&b&c=1&c=2&d=%2F+%20",
        "bare_question_mark": f"http://{HOST}:{port}{path}?",
        "fragment": f"http://{HOST}:{port}{path}#part",
        "templated_base": "${base}/x",
        "templated_query": f"http://{HOST}:{port}{path}?id=${{call.call_id}}",
        "doubled_slash": f"http://{HOST}:{port}/broken//odd-urls/swaig/",
        "foreign": "https://tools.example.com/swaig?key=1",
    }
    return swml(ai({"functions": [tool(name, web_hook_url=url) for name, url in urls.items()]}))


def includes(request):
    include = {"url": f"{request.origin()}/broken/includes/swaig", "functions": ["check_order", "cancel_order"],
               "auth_user": USER, "auth_password": PASSWORD}
    return swml(ai({"includes": [include]}))


def verbs(request):
    url = request.url
    return swml(
        {"play": {"urls": [url("/hello.wav"), "say:Hello"], "status_url": url("/status")}},
        {"record_call": {"format": "wav", "status_url": url("/status")}},
        {"request": {"url": url("/lookup"), "method": "POST", "save_variables": True}},
        {"connect": {"to": "+15551230000", "confirm": url("/confirm"), "call_state_url": url("/status"),
                     "status_url": url("/status"), "transfer_after_bridge": url("", "plain")}},
        {"enter_queue": {"queue_name": "q", "wait_url": url("", "plain"), "status_url": url("/status")}},
        {"join_conference": {"name": "c", "wait_url": url("", "plain"), "status_callback": url("/status"),
                             "recording_status_callback": url("/status")}},
        {"execute": {"dest": url("", "plain")}},
        {"transfer": {"dest": url("", "plain")}},
    )


def no_ai(request):
    return swml({"play": {"url": "say:Hello"}}, {"hangup": {}})


DOCUMENTS = {
    "plain": plain,
    "defaults": defaults,
    "shared-url": shared_url,
    "odd-urls": odd_urls,
    "includes": includes,
    "verbs": verbs,
    "actions": plain,
    "no-ai": no_ai,
}


# --- Answers of /swaig ---


def action(request):
    """The forms in which an action can hold SWML or an URL."""
    own = request.url("", "plain")
    document = swml({"transfer": {"dest": own}})
    forms = {
        "object": {"SWML": document, "transfer": "true"},
        "array": [{"say": "Wait."}, {"SWML": document}],
        "text": [{"SWML": json.dumps(document)}],
        "raw": [{"SWML": {"raw_swml": json.dumps(document)}}],
        "transfer": [{"transfer": {"dest": own, "summarize": True}}],
        "redirect": [{"transfer": own}],
        "playback": [{"playback_bg": {"file": request.url("/music.mp3"), "wait": False}}],
        "sms": [{"SWML": swml({"send_sms": {"to_number": "+15551230000", "from_number": "+15551230001", "body": "b"}})}],
    }
    return forms[request.option("form", "array")]


def swaig_answer(request):
    call = json.loads(request.body or b"{}")
    if call.get("action") == "get_signature":
        names = call.get("functions") or ["check_order"]
        return {"functions": [tool(name, web_hook_url=request.url("/swaig")) for name in names]}
    answer = {"response": f"{call.get('function')} ran"}
    if request.scenario == "actions":
        answer["action"] = action(request)
    return answer


# --- Misbehaviour: takes a proper body, spoils it or the way it is sent ---


def typed(body, content_type, **headers):
    return Reply(body, headers={"Content-Type": content_type, **headers})


def error(status, **headers):
    body = json.dumps({"error": f"status {status}", "path": "/srv/agent/app.py"}).encode()
    return Reply(body, status=status, headers={"Content-Type": "application/json", **headers})


def duplicate_keys(body, request):
    # Readers differ on which one counts, so a checker and its agent may see two documents.
    for name, other in {b"web_hook_url": b"https://other.example.com/", b"response": b"x", b"success": b"x"}.items():
        key = b'"%s": ' % name
        if key in body:
            return Reply(body.replace(key, b'%s"%s", %s' % (key, other, key), 1))
    return Reply(body)


def too_deep(body, request):
    depth = request.option("depth", 100_000)
    return Reply(body[:-1] + b', "extra": ' + b"[" * depth + b"]" * depth + b"}")


def too_large(body, request):
    head, tail = body[:-1] + b', "extra": "', b'"}'
    padding = b"x" * (request.option("bytes", 20_000_000) - len(head) - len(tail))
    return Reply(head + padding + tail, chunked=request.option("chunked", 0) == 1)


def in_yaml(body, request):
    """What `plain` says, as somebody writes it by hand; the answer of a function in the same way."""
    if request.endpoint:
        return typed(b"response: check_order ran\n", "application/yaml")
    text = f"""# Takes orders.
version: 1.0.0
sections:
  main:
    - answer: {{}}
    - ai:
        prompt:
          text: >-
            You take
            orders.
        post_prompt: {{text: Summarize.}}
        post_prompt_url: {request.url("/post_prompt")}
        SWAIG:
          functions:
            - function: check_order
              description: "The tool: check_order."
              parameters:
                type: object
                properties:
                  order: {{type: string}}
                required: [order]
              web_hook_url: {request.url("/swaig")}
"""
    return typed(text.encode(), "application/yaml")


def silent(body, request):
    time.sleep(request.option("seconds", 30.0))
    return Reply(body)


def flaky(body, request):
    key = (request.scenario, request.endpoint, request.raw_query, request.body)
    with _log_lock:
        _seen[key] += 1
        count = _seen[key]
    return error(500) if count <= request.option("fails", 1) else Reply(body)


def big_head(body, request):
    line = "x" * 1000
    count = request.option("bytes", 200_000) // len(line)
    return typed(body, "application/json", **{f"X-Filler-{n}": line for n in range(count)})


def two_lengths(body, request):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Length: {len(body) // 2}\r\n\r\n"
    return Reply(b"", raw=head.encode() + body)


MISBEHAVIOUR = {
    "not-json": lambda body, request: Reply(b"this is no JSON"),
    "truncated-json": lambda body, request: Reply(body[: len(body) // 2]),
    "duplicate-keys": duplicate_keys,
    "not-utf8": lambda body, request: Reply(body[:-1] + b', "extra": "\xff\xfe"}'),
    "not-an-object": lambda body, request: Reply(b"[" + body + b"]"),
    "too-deep": too_deep,
    "nan": lambda body, request: Reply(body[:-1] + b', "extra": NaN}'),
    "empty": lambda body, request: Reply(b""),
    "html": lambda body, request: typed(b"<html><body>Oops</body></html>", "text/html"),
    "yaml": in_yaml,
    "yaml-alias": lambda body, request: typed(
        b"sections:\n  main: &verbs\n    - answer: {}\n  again: *verbs\n", "application/yaml"),
    "wrong-type": lambda body, request: typed(body, "text/html; charset=latin-1"),
    "gzip": lambda body, request: typed(gzip.compress(body), "application/json", **{"Content-Encoding": "gzip"}),
    "redirect": lambda body, request: error(
        request.option("code", 302), Location=request.option("to", "/broken/plain")),
    "unauthorized": lambda body, request: error(401, **{"WWW-Authenticate": 'Basic realm="broken"'}),
    "forbidden": lambda body, request: error(403),
    "not-found": lambda body, request: error(404),
    "server-error": lambda body, request: error(request.option("code", 500)),
    "no-content": lambda body, request: Reply(b"", status=204, headers={}),
    "too-large": too_large,
    "drip": lambda body, request: Reply(body, pause=request.option("ms", 200) / 1000),
    "silent": silent,
    "flaky": flaky,
    "cut-head": lambda body, request: Reply(b"", raw=b""),
    "cut-body": lambda body, request: Reply(body[: len(body) // 2], promise=len(body)),
    "cut-chunk": lambda body, request: Reply(
        b"", raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)),
    "bad-head": lambda body, request: Reply(b"", raw=b"nonsense\r\n\r\n" + body),
    "two-lengths": two_lengths,
    "big-head": big_head,
}


def answer(request):
    target = "swaig" if request.endpoint == "swaig" else "summary" if request.endpoint else ""
    prefix = next((p for p in ("swaig", "summary") if request.scenario.startswith(f"{p}-")), "")
    name = request.scenario.removeprefix(f"{prefix}-")
    if request.scenario not in DOCUMENTS and name not in MISBEHAVIOUR:
        return error(404)

    if target == "swaig":
        proper = swaig_answer(request)
    elif target == "summary":
        proper = {"success": True}
    else:
        proper = DOCUMENTS.get(request.scenario, plain)(request)
    body = json.dumps(proper).encode()
    spoils = MISBEHAVIOUR.get(name) if prefix == target else None
    return spoils(body, request) if spoils else Reply(body)


# --- HTTP ---


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.read_body()
        self.log_request_line(body)
        if not self.path.startswith("/broken/"):
            return self.send(error(404))
        if not self.authorized():
            return self.send(error(401, **{"WWW-Authenticate": 'Basic realm="broken"'}))
        url = urlsplit(self.path)
        scenario, _, endpoint = url.path.removeprefix("/broken/").strip("/").partition("/")
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        request = Request(scenario, endpoint.strip("/"), query, url.query, body, self.server.server_address[1])
        try:
            self.send(answer(request))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the other side gave up: often the point of the test

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = serve

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def authorized(self):
        if not USER:
            return True
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode())

    def send(self, reply):
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body) if reply.promise is None else reply.promise))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.chunked:
            for start in range(0, len(reply.body), 65536):
                chunk = reply.body[start:start + 65536]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        elif reply.pause:
            for byte in reply.body:
                time.sleep(reply.pause)
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(reply.body)
        if reply.promise is not None:
            self.close_connection = True

    def log_request_line(self, body):
        if not AGENT_LOG:
            return
        line = json.dumps({
            "event": "request",
            "at": time.time(),
            "method": self.command,
            "path": self.path,
            "headers": self.headers.items(),  # pairs, so that a repeated header shows
            "body_length": len(body),
            "body": body[:65536].decode("utf-8", "replace"),
        })
        with _log_lock, open(AGENT_LOG, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server((HOST, int(os.environ.get("PORT", "3000"))), Handler)
    print(f"broken agent at http://{HOST}:{server.server_address[1]}/broken/", flush=True)
    server.serve_forever()
