"""The agents that the example policies are for: a real SWML/SWAIG agent that plays one of several roles, for the end-to-end tests.

Each offers what its policy in `policies/examples` names, and more, which the policy has to cut or refuse. Runs unchanged on
`signalwire-sdk` 3.x and on `signalwire-agents` 1.x, whichever is installed.

Environment: PORT, SWML_BASIC_AUTH_USER, SWML_BASIC_AUTH_PASSWORD; AGENT_ROLE, one of ROLES; AGENT_ROUTE, `/` and the role unless it is
given; AGENT_LOG, as in `bank_agent.py`; AGENT_URL_OF_SALES and the like, where another agent of the host is, with its credentials.
"""

import json
import os
import threading
import time

try:
    from signalwire import AgentBase, DataMap
    from signalwire import FunctionResult as Result
except ImportError:
    from signalwire_agents import AgentBase, DataMap
    from signalwire_agents import SwaigFunctionResult as Result

ROLE = os.environ["AGENT_ROLE"]
ROUTE = os.environ.get("AGENT_ROUTE", f"/{ROLE}")
AGENT_LOG = os.environ.get("AGENT_LOG")
_log_lock = threading.Lock()


def log(event, **fields):
    if not AGENT_LOG:
        return
    line = json.dumps({"event": event, "at": time.time(), **fields}, default=str)
    with _log_lock, open(AGENT_LOG, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def text(description, **more):
    return {"type": "string", "description": description, **more}


def number(description):
    return {"type": "number", "description": description}


def whole(description):
    return {"type": "integer", "description": description}


def swml(*verbs):
    return {"version": "1.0.0", "sections": {"main": list(verbs)}}


# === what the agents do ===


def verify(args, key="account", secret="passphrase"):
    """What a caller has to know is "swordfish" everywhere."""
    right = str(args.get(secret, "")).lower() == "swordfish"
    result = Result("Thank you, that is right." if right else "That isn't right.")
    return result.update_global_data({"verified": right, key: args.get(key)})


def to_somebody(numbers):
    def handler(args):
        return Result("One moment, please.").connect(numbers.get(args.get("who"), args.get("who") or numbers[None]), final=True)

    return handler


def sends(body, argument):
    def handler(args):
        return Result("It is on its way.").send_sms(to_number=args[argument], from_number="+12025550100", body=body)

    return handler


def to_agent(name):
    return Result("One moment, please.").swml_transfer(os.environ[f"AGENT_URL_OF_{name.upper()}"], "Welcome back.", final=True)


def listens(args):
    """What no policy here allows, whoever talked the agent into it."""
    return Result("Listening.").add_action("SWML", swml({"tap": {"uri": "wss://elsewhere.example.net/ears"}}))


def tool(name, description, handler, required=(), **parameters):
    return name, description, parameters, handler, list(required)


ORDER = {"order": text("Number of the order")}
PHONE = {"phone": text("The caller's own number")}
DESK = {None: "+13125550100", "somewhere": "+18765550123"}

ROLES = {
    "bank": [
        tool("verify_caller", "Check who calls.", verify, ["account", "passphrase"],
             account=text("Account number"), passphrase=text("What only they know")),
        tool("get_balance", "Read the balance of an account.",
             lambda args: Result(f"The balance of account {args['account']} is $150.00, and card 4111 1111 1111 1111 is fine."),
             ["account"], account=text("Account number")),
        tool("transfer_funds", "Move money to another account.",
             lambda args: Result(f"Transferred ${args['amount']}."), ["from_account", "to_account", "amount"],
             from_account=text("The caller's account"), to_account=text("Account that receives the money"),
             amount=number("Dollars"), verification_code=text("Code of the caller's device")),
        tool("send_statement", "Send a statement as a text message.", sends("Your balance is $150.00", "to"), ["to"],
             to=text("The caller's number")),
        tool("talk_to_somebody", "Put the caller through to a branch.",
             to_somebody({None: "+12025550123", "abroad": "+18765550123", "branch": "sip:main@branches.example.com"}),
             who=text("Whom")),
        tool("delete_account", "Delete an account.", lambda args: Result("Deleted."), account=text("Account number")),
    ],
    "appointments": [
        tool("find_slots", "Find free slots.",
             lambda args: Result("Nine o'clock. The one before is for F32.1, insured as A123456789, ann@example.com."), ["day"],
             day=text("Day")),
        tool("book_appointment", "Make an appointment.", lambda args: Result(f"{args['patient']} is expected at {args['slot']}."),
             ["slot", "patient", "date_of_birth"], slot=text("When"), patient=text("Name"),
             date_of_birth=text("As 1985-12-10"), reason=text("Why")),
        tool("my_appointments", "Tell the caller's appointments.",
             lambda args: Result("Reference AB1234, on Wednesday at nine.").update_global_data({"looked_up": True}), ["phone"], **PHONE),
        tool("cancel_appointment", "Cancel an appointment.", lambda args: Result(f"{args['reference']} is cancelled."),
             ["phone", "reference"], reference=text("Like AB1234"), **PHONE),
        tool("send_reminder", "Send a text message.", sends("Wednesday at nine.", "phone"), ["phone"], **PHONE),
        tool("read_file", "Read a patient's file.", lambda args: Result("Everything."), patient=text("Name")),
        tool("listen_in", "Let somebody listen.", listens),
    ],
    "after-hours-shop": [
        tool("opening_hours", "Tell when the shop is open.", lambda args: Result("From nine to six.")),
        tool("order_status", "Tell where an order is.",
             lambda args: Result(f"Order {args['order']} is on its way to ann@example.com."), ["order"], **ORDER),
        tool("place_order", "Order an article.", lambda args: Result(f"{args['quantity']} of {args['article']}: ordered."),
             ["article", "quantity"], article=text("Like ABC-123"), quantity=whole("How many")),
        tool("refund_order", "Give money back.", lambda args: Result(f"${args['amount']} are refunded."), ["order", "amount"],
             amount=number("Dollars"), **ORDER),
        tool("leave_note", "Leave a note for the team.", lambda args: Result("They will read it."), ["note"], note=text("What")),
        tool("talk_to_somebody", "Put the caller through.", to_somebody(DESK), who=text("Whom")),
        tool("track_parcel", "Track a parcel.", lambda args: Result("Somewhere."), **ORDER),
    ],
    "reception": [
        tool("route_call", "Send the call to a department.", lambda args: to_agent(args["department"]), ["department"],
             department=text("Which", enum=["sales", "billing"])),
        tool("opening_hours", "Tell when somebody is there.", lambda args: Result("From nine to six.")),
        tool("page_everybody", "Ring all telephones.", lambda args: Result("Ringing.")),
    ],
    "sales": [
        tool("get_quote", "Tell a price.", lambda args: Result(f"{args['quantity']} of {args['article']} are $12."),
             ["article", "quantity"], article=text("What"), quantity=whole("How many")),
        tool("place_order", "Order an article.", lambda args: Result(f"{args['quantity']} of {args['article']}: ordered."),
             ["article", "quantity"], article=text("What"), quantity=whole("How many")),
        tool("talk_to_somebody", "Put the caller through.", to_somebody({**DESK, None: "+13125550111"}), who=text("Whom")),
        tool("back_to_reception", "Send the call back.", lambda args: to_agent("reception")),
        tool("change_price", "Change a price.", lambda args: Result("Changed."), article=text("What"), price=number("Dollars")),
    ],
    "billing": [
        tool("verify_customer", "Check who calls.", lambda args: verify(args, "customer", "secret"), ["customer", "secret"],
             customer=text("Customer number"), secret=text("What only they know")),
        tool("read_bill", "Read a bill.", lambda args: Result("12 dollars, from DE89370400440532013000."), ["customer"],
             customer=text("Customer number")),
        tool("pay_bill", "Pay a bill.", lambda args: Result(f"${args['amount']} are paid."), ["customer", "amount"],
             customer=text("Customer number"), amount=number("Dollars")),
        tool("back_to_reception", "Send the call back.", lambda args: to_agent("reception")),
    ],
}


class ExampleAgent(AgentBase):
    def __init__(self):
        super().__init__(name=ROLE, route=ROUTE, host="127.0.0.1", port=int(os.environ["PORT"]))
        self.prompt_add_section("Role", body=f"You play this role: {ROLE}.")
        self.set_post_prompt("Summarize the call in one sentence.")
        for name, description, parameters, handler, required in ROLES[ROLE]:
            self.add_tool(name, description, parameters, handler, required)
        self.add_tool("hangup_hook", "The call has ended.", {}, lambda args: Result(""), [])
        # The platform itself asks for this one; no policy here publishes it.
        weather = DataMap("get_weather").purpose("Read the weather.").parameter("city", "string", "City", required=True)
        weather = weather.webhook("GET", "https://weather.example.net/?city=${args.city}").output(Result("It is ${response.summary}."))
        self.register_swaig_function(weather.to_swaig_function())

    def add_tool(self, name, description, parameters, handler, required):
        def logged(args, raw_data):
            raw = raw_data or {}
            log("tool", function=name, arguments=args, call_id=raw.get("call_id"), body=raw)
            return handler(args)

        self.define_tool(name=name, description=description, parameters=parameters, handler=logged, secure=True, required=required)

    def on_summary(self, summary, raw_data=None):
        log("summary", summary=summary, call_id=(raw_data or {}).get("call_id"))

    def _render_swml(self, call_id=None, modifications=None):
        # The SDK has no public hook that runs for each rendered document and for nothing else.
        log("swml", call_id=call_id)
        return super()._render_swml(call_id, modifications)


if __name__ == "__main__":
    ExampleAgent().serve()
