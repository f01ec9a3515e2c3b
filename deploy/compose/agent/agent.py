"""A bank's voice agent, as an author would write it: one function, nothing that knows of a gateway."""

import os
from pathlib import Path

# The SDK takes its password from the environment; where it is a file, it gets there here and no one else sees it.
if "SWML_BASIC_AUTH_PASSWORD_FILE" in os.environ:
    password = Path(os.environ["SWML_BASIC_AUTH_PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
    os.environ["SWML_BASIC_AUTH_PASSWORD"] = password

from signalwire import AgentBase, FunctionResult  # noqa: E402  (reads the environment)


class Bank(AgentBase):
    def __init__(self):
        super().__init__(name="bank", route="/bank", host="0.0.0.0", port=int(os.environ.get("PORT", "3000")))
        self.prompt_add_section("Role", body="You are the voice assistant of a small bank.")
        account = {"account": {"type": "string", "description": "Account number, ten digits"}}
        self.define_tool("get_balance", "Read the balance of an account.", account, self.get_balance, required=["account"])

    def get_balance(self, args, raw_data):
        return FunctionResult(f"The balance of account {args['account']} is $150.00.")


if __name__ == "__main__":
    Bank().run()
