"""An agent with a chat for browsers and files of its own, for the end-to-end tests of answers that are streamed.

The chat is the SDK's own `ChatGateway` (signalwire-sdk 3.x), mounted at ROUTE/chat with its `HandoffRouter`; the chat service that it asks is at
CHAT_SERVICE, a URL, in place of SignalWire's. The files are at ROUTE/files: `large.bin` of 32 MiB, which the document
names as its background_file, and `leak.txt`, which holds the agent's own password.

Environment: PORT, SWML_BASIC_AUTH_USER, SWML_BASIC_AUTH_PASSWORD, CHAT_SERVICE, FILES (an empty folder).
"""

import os
from pathlib import Path

from signalwire import AgentBase
from signalwire.ai_chat import AIChatClient, ChatGateway, HandoffRouter
from starlette.staticfiles import StaticFiles

HOST = "127.0.0.1"
PORT = int(os.environ["PORT"])
ROUTE = "/bank"
FILES = Path(os.environ["FILES"])
KEY = "pk_of_the_tests"
LARGE = 32 << 20


def main():
    (FILES / "large.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    (FILES / "leak.txt").write_text("x" * 200_000 + os.environ["SWML_BASIC_AUTH_PASSWORD"] + "y" * 200_000)
    agent = AgentBase(name="bank", route=ROUTE, host=HOST, port=PORT)
    agent.prompt_add_section("Role", body="You are the voice assistant of a small bank.")
    agent.set_param("background_file", f"http://{HOST}:{PORT}{ROUTE}/files/large.bin")
    client = AIChatClient(project="project", token="token", url=os.environ["CHAT_SERVICE"])
    chat = ChatGateway(config_url=f"http://{HOST}:{PORT}{ROUTE}", key=KEY, client=client)
    agent.mount(chat.router(), prefix=f"{ROUTE}/chat")
    agent.mount(HandoffRouter(gateway=chat).router(), prefix=f"{ROUTE}/chat")
    agent.mount(StaticFiles(directory=FILES), prefix=f"{ROUTE}/files")
    agent.serve()


if __name__ == "__main__":
    main()
