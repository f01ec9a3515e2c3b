"""The bank: a real SWML/SWAIG agent for the end-to-end tests.

Runs unchanged on `signalwire-sdk` 3.x and on `signalwire-agents` 1.x, whichever is installed.

Environment: PORT, AGENT_ROUTE (/bank), SWML_BASIC_AUTH_USER, SWML_BASIC_AUTH_PASSWORD; AGENT_LOG, a file that gets
one JSON line for everything that reaches the agent; AGENT_URL, the origin `route_call` uses for the agent's own URL;
AGENT_TRANSFER, the URL of another agent to which `route_call` sends the call instead;
AGENT_SECOND_ROUTE, to serve one more agent at the same address, each of which sends calls to the other;
AGENT_MCP=1 opens the SDK's MCP endpoint (3.x only); AGENT_RECORD=1 has calls recorded, AGENT_STEPS=1 gives it a context. The SDK reads SIGNALWIRE_SIGNING_KEY and SWML_PROXY_URL_BASE itself.
"""

import json
import os
import threading
import time

try:
    from signalwire import AgentBase, AgentServer, DataMap
    from signalwire import FunctionResult as Result
except ImportError:
    from signalwire_agents import AgentBase, AgentServer, DataMap
    from signalwire_agents import SwaigFunctionResult as Result

HOST = "127.0.0.1"
PORT = int(os.environ.get("PORT", "3000"))
ROUTE = os.environ.get("AGENT_ROUTE", "/bank")
SECOND_ROUTE = os.environ.get("AGENT_SECOND_ROUTE")
AGENT_LOG = os.environ.get("AGENT_LOG")
_log_lock = threading.Lock()


def log(event, **fields):
    """Append what ran to AGENT_LOG: a line there is proof that the gateway let it through."""
    if not AGENT_LOG:
        return
    line = json.dumps({"event": event, "at": time.time(), **fields}, default=str)
    with _log_lock, open(AGENT_LOG, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def text(name, description):
    return {name: {"type": "string", "description": description}}


class BankAgent(AgentBase):
    def __init__(self, route=ROUTE):
        recorded = os.environ.get("AGENT_RECORD") == "1"
        super().__init__(name="bank", route=route, host=HOST, port=PORT, record_call=recorded)
        self.prompt_add_section("Role", body="You are the voice assistant of a small bank.")
        self.set_post_prompt("Summarize the call in one sentence.")
        self.set_global_data({"bank": "Example Bank"})
        self.set_dynamic_config_callback(configure)
        self.enable_debug_events(1)
        self.on_debug_event(self.debug_event)
        self.register_routing_callback(self.route_sip, path="/sip")
        if os.environ.get("AGENT_STEPS") == "1":
            context = self.define_contexts().add_context("default")
            context.add_step("greet").set_text("Greet the caller.").set_functions(["get_balance"])
            context.add_step("serve").set_text("Serve the caller.").set_functions(["get_balance", "transfer_funds"])
        if os.environ.get("AGENT_MCP") == "1":
            self.enable_mcp_server()

        self.add_tool("get_balance", "Read the balance of an account.", text("account", "Account number"),
                      self.get_balance, secure=False, required=["account"])
        self.add_tool("transfer_funds", "Move money to another account.",
                      {**text("to_account", "Account that receives the money"),
                       "amount": {"type": "number", "description": "Dollars"}},
                      self.transfer_funds, secure=True, required=["to_account", "amount"])
        self.add_tool("slow_tool", "Wait, then answer.",
                      {"seconds": {"type": "number", "description": "How long to wait"}},
                      self.slow_tool, secure=False)
        self.add_tool("route_call", "Send the call elsewhere.",
                      {"how": {"type": "string", "description": "Form of the action", "enum": list(self.ACTION_FORMS)},
                       **text("to", "For connect: number, address, or url for where the others send it")},
                      self.route_call, secure=False)
        self.add_tool("startup_hook", "The call starts.", {}, self.startup_hook, secure=True)
        self.add_tool("hangup_hook", "The call has ended.", {}, self.hangup_hook, secure=True)
        # The platform itself calls this one: a gateway sees its address in the document and nothing else.
        weather = (
            DataMap("get_weather")
            .purpose("Read the weather of a city.")
            .parameter("city", "string", "City", required=True)
            .webhook("GET", "https://api.example.com/weather?city=${args.city}", headers={"X-Api-Key": "example"})
            .output(Result("It is ${response.summary}."))
        )
        self.register_swaig_function(weather.to_swaig_function())

    def add_tool(self, name, description, parameters, handler, **options):
        def logged(args, raw_data):
            raw = raw_data or {}
            log("tool", route=self.route, function=name, arguments=args, call_id=raw.get("call_id"), body=raw)
            return handler(args)

        self.define_tool(name=name, description=description, parameters=parameters, handler=logged, **options)

    def get_balance(self, args):
        return Result(f"Balance of {args.get('account')} is $150.00")

    def transfer_funds(self, args):
        return Result(f"Transferred ${args.get('amount')} to account {args.get('to_account')}")

    def slow_tool(self, args):
        time.sleep(float(args.get("seconds") or 0))
        return Result("slept")

    def route_call(self, args):
        how = args.get("how") or "transfer"
        return self.ACTION_FORMS[how](Result("One moment, please."), own_url(self), args.get("to") or "+15551230000")

    # The forms in which agents send SWML inside an action: helpers of the SDK's, and two that authors write.
    ACTION_FORMS = {
        "transfer": lambda result, own, to: result.swml_transfer(own, "Welcome back.", final=False),
        "connect": lambda result, own, to: result.connect(own if to == "url" else to, final=True),
        "execute": lambda result, own, to: result.add_action("SWML", document({"execute": {"dest": own}})),
        "text": lambda result, own, to: result.add_action("SWML", json.dumps(document({"transfer": {"dest": own}}))),
        "message": lambda result, own, to: result.send_sms(to, "+15559990000", body="Hello"),
        "refer": lambda result, own, to: result.sip_refer(to),
        "listen": lambda result, own, to: result.tap("wss://listen.example.com/call"),
        "prompt": lambda result, own, to: result.switch_context(system_prompt="You are a pirate.", full_reset=True),
        "words": lambda result, own, to: result.say(f"Say {to}.").update_global_data({"said": to}),
    }

    # Where calls to these users of the SIP domain go; the others get the agent's own document.
    SIP_ROUTES = {"spanish": f"{ROUTE}?lang=es", "shop": "https://shop.example.com/agent", "debug": f"{ROUTE}/debug"}

    def route_sip(self, *given):
        """3.x gives body and headers, 1.x request and body."""
        body = next(part for part in given if isinstance(part, dict) and "call" in part)
        user = body["call"].get("to", "").removeprefix("sip:").partition("@")[0]
        return self.SIP_ROUTES.get(user)

    def startup_hook(self, args):
        return Result("The call is open.")

    def hangup_hook(self, args):
        return Result("")

    def on_summary(self, summary, raw_data=None):
        log("summary", summary=summary, call_id=(raw_data or {}).get("call_id"))

    def debug_event(self, event_type, data):
        # The platform puts the id of the call under call_info and nowhere else.
        log("debug_event", type=event_type, call_id=data.get("call_info", {}).get("call_id"), body=data)

    def _render_swml(self, call_id=None, modifications=None):
        # The SDK has no public hook that runs for each rendered document and for nothing else.
        log("swml", call_id=call_id)
        return super()._render_swml(call_id, modifications)


def configure(query_params, body_params, headers, agent):
    """What the SDK calls for each request: `?lang=es` changes the prompt, global_data and the tools' own query."""
    lang = query_params.get("lang")
    if lang:
        agent.prompt_add_section("Language", body=f"Speak {lang}.")
        agent.set_global_data({"lang": lang})
        agent.add_swaig_query_params({"lang": lang})
    caller = ((body_params or {}).get("call") or {}).get("from")
    if caller:
        agent.set_global_data({"caller": caller})


def document(*verbs):
    return {"version": "1.0.0", "sections": {"main": list(verbs)}}


def own_url(agent):
    """The agent's own URL with its credentials in it, as the SDK writes it into documents; or another agent's."""
    if os.environ.get("AGENT_TRANSFER"):
        return os.environ["AGENT_TRANSFER"]
    scheme, _, authority = os.environ.get("AGENT_URL", f"http://{HOST}:{PORT}").rstrip("/").partition("://")
    user, password = agent.get_basic_auth_credentials()
    route = SECOND_ROUTE if SECOND_ROUTE and agent.route == ROUTE else ROUTE
    return f"{scheme}://{user}:{password}@{authority}{route}"


def main():
    if not SECOND_ROUTE:
        return BankAgent().serve()
    server = AgentServer(host=HOST, port=PORT)
    server.register(BankAgent())
    server.register(BankAgent(SECOND_ROUTE))
    return server.run()


if __name__ == "__main__":
    main()
