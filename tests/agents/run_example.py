"""Runs one of the examples that come with signalwire-sdk, unchanged, on a port of the test's choosing.

    run_example.py FOLDER EXAMPLE [ARGUMENT…]

Most examples name their port in their source, so that only one could run at a time, and listen on all addresses. Here
the SDK is told otherwise: PORT on 127.0.0.1, whatever the example says. And nobody is asked outside of this machine:
each name that is looked up is printed, and isn't found. Nothing else is another than without this program.

Environment: PORT; EXAMPLE_SERVES, a global variable of an example that makes an agent and leaves serving it to others;
EXAMPLE_INPUT, what is typed when the example asks. The example runs as a copy in the current folder, since one writes
beside itself, and finds its neighbours in FOLDER.
"""

import inspect
import io
import os
import runpy
import shutil
import socket
import sys

import certifi
import uvicorn
from signalwire.core.swml_service import SWMLService

HOST = "127.0.0.1"
PORT = int(os.environ["PORT"])


def place_services():
    """A service writes its own port into its documents, so it has to know it from the start."""
    original = SWMLService.__init__

    def init(self, *args, **kwargs):
        given = inspect.signature(original).bind(self, *args, **kwargs)
        given.arguments.update(host=HOST, port=PORT)
        original(*given.args, **given.kwargs)

    SWMLService.__init__ = init


def place_servers():
    original = uvicorn.run
    uvicorn.run = lambda app, **options: original(app, **{**options, "host": HOST, "port": PORT})


def stay_inside():
    original = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if host in (HOST, "localhost"):
            return original(host, *args, **kwargs)
        print(f"looks up {host}", flush=True)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = getaddrinfo
    # Without it the SDK's RELAY client fails before it looks up its host.
    os.environ.setdefault("SIGNALWIRE_RELAY_CA_FILE", certifi.where())


def main():
    folder, example, *arguments = sys.argv[1:]
    copy = shutil.copy(os.path.join(folder, example), example)
    place_services()
    place_servers()
    stay_inside()
    sys.path[0:1] = [os.getcwd(), folder]
    sys.argv = [copy, *arguments]
    if "EXAMPLE_INPUT" in os.environ:
        sys.stdin = io.StringIO(os.environ["EXAMPLE_INPUT"] + "\n")
    left = runpy.run_path(copy, run_name="__main__")
    if "EXAMPLE_SERVES" in os.environ:
        left[os.environ["EXAMPLE_SERVES"]].serve()


main()
