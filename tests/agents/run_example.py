"""Runs an example of the SDK as it is, but for where it listens.

    run_example.py EXAMPLE.py [ARGUMENT...]

PORTS: the ports on loopback for the servers that the example starts, in the order in which it starts them, separated by
commas. What the example itself says of hosts and ports is not heeded; nothing else of it is touched.
"""

import os
import runpy
import sys

import uvicorn

ports = [int(port) for port in os.environ["PORTS"].split(",")]
serve = uvicorn.run


def run(app, *args, **kwargs):
    port = ports.pop(0)
    print(f"serving at port {port}", flush=True)
    options = {name: value for name, value in kwargs.items() if name not in ("host", "port")}
    serve(app, host="127.0.0.1", port=port, **options)


uvicorn.run = run
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
runpy.run_path(sys.argv[0], run_name="__main__")
