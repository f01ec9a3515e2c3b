"""What the platform sends and what the agent answers, in the sizes and shapes of a real call."""

import base64
import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent

AGENT_USER, AGENT_PASSWORD = "agent", "b3nch-agent-password"
PLATFORM_USER, PLATFORM_PASSWORD = "signalwire", "b3nch-platform-password"

FUNCTION = "get_balance"
# What FUNCTION requires, where rules are measured.
REQUIRED = "verify_caller"
CODE = "4711"
SWML_BYTES = 7 * 1024
# Replaced by load.lua with a number that no other request of the run has.
SEQUENCE = "{sequence}"

FUNCTIONS = {
    "get_balance": ("Look up the balance of one of the caller's accounts", {
        "account_type": ("string", "Which account to look up", ["checking", "savings", "credit"]),
        "include_pending": ("boolean", "Whether to count payments that are still pending", None)}),
    "verify_caller": ("Check who the caller is before anything is said about an account", {
        "date_of_birth": ("string", "Date of birth as YYYY-MM-DD", None),
        "last_four": ("string", "The last four digits of the card", None)}),
    "transfer_funds": ("Move money between the caller's accounts or to a saved payee", {
        "amount": ("number", "Amount in US dollars", None),
        "from_account": ("string", "Account to take from", ["checking", "savings"]),
        "to_account": ("string", "Ten digit account number of the payee", None)}),
    "list_transactions": ("Read out the most recent transactions of an account", {
        "account_type": ("string", "Which account", ["checking", "savings", "credit"]),
        "count": ("integer", "How many transactions, at most ten", None)}),
    "lock_card": ("Lock a lost or stolen card at once", {
        "last_four": ("string", "The last four digits of the card", None),
        "reason": ("string", "Why the card is locked", ["lost", "stolen", "fraud"])}),
    "find_branch": ("Find the nearest branch and its opening hours", {
        "postal_code": ("string", "Five digit postal code", None)}),
    "schedule_callback": ("Arrange for a person to call back", {
        "when": ("string", "Day and time in the caller's own words", None),
        "topic": ("string", "What the call is about", None)}),
    "transfer_to_agent": ("Hand the call over to a person", {
        "department": ("string", "Which department", ["loans", "cards", "fraud", "general"])}),
}

PROMPT = (
    "You are the telephone assistant of First Example Bank. Speak in short, plain sentences and wait for the answer "
    "after each question. Verify the caller with verify_caller before you say anything about an account. Never read a "
    "full account or card number aloud; the last four digits are enough. Repeat amounts and dates before you act on "
    "them, and act only after the caller has agreed. If a function fails, apologise, try once more, and then offer to "
    "hand the call over to a person. "
)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def tool_uri(function):
    """The agent's own URL of a function: a token as the Python SDK mints it."""
    signature = hashlib.sha256(function.encode()).hexdigest()
    plain = f"6f2b3a52-8f2e-4d0c-9b1f-2f4f6d1c7a10.{function}.1793500000.{signature[:16]}.{signature}"
    token = base64.urlsafe_b64encode(plain.encode()).decode().replace("=", "%3D")
    path = "/bank/post_prompt/" if function == "post_prompt" else "/bank/swaig/"
    return f"{path}?__token={token}"


def schema(function):
    properties = {}
    for name, (kind, description, choices) in FUNCTIONS[function][1].items():
        properties[name] = {"type": kind, "description": description} | ({"enum": choices} if choices else {})
    return {"type": "object", "properties": properties, "required": [next(iter(properties))]}


def swml_document(agent_port):
    """The agent's SWML, filled up to its size with prompt text."""
    def url(function):
        return f"http://{AGENT_USER}:{AGENT_PASSWORD}@127.0.0.1:{agent_port}{tool_uri(function)}"

    def document(prompt):
        ai = {
            "prompt": {"text": prompt, "temperature": 0.3, "top_p": 0.9},
            "post_prompt": {"text": "Summarize the call as JSON with the keys intent, verified and outcome."},
            "post_prompt_url": url("post_prompt"),
            "params": {"ai_model": "gpt-4.1-nano", "end_of_speech_timeout": 700, "attention_timeout": 10000},
            "languages": [{"name": "English", "code": "en-US", "voice": "rime.spore"}],
            "hints": ["checking", "savings", "routing number"],
            "SWAIG": {"functions": [
                {"function": name, "description": FUNCTIONS[name][0], "parameters": schema(name),
                 "web_hook_url": url(name)}
                for name in FUNCTIONS]},
        }
        main = [{"answer": {}}, {"record_call": {"format": "mp3", "stereo": True}}, {"ai": ai}]
        return json.dumps({"version": "1.0.0", "sections": {"main": main}}, separators=(",", ":"))

    missing = SWML_BYTES - len(document(""))
    return document((PROMPT * (missing // len(PROMPT) + 1))[:missing])


def swaig_answer():
    return json.dumps({
        "response": "The balance of the checking account ending in 6789 is 2450 dollars and 12 cents. "
                    "One payment of 80 dollars is still pending.",
        "action": [{"set_global_data": {"last_account": "checking", "balance_read": True}}],
    }, separators=(",", ":"))


def call_id(number):
    return f"0d9c6a1e-5b0f-4f5e-8c58-{number:012d}"


def caller(number):
    return f"+1555{number:07d}"


def call_object(number):
    """What the platform posts to fetch SWML."""
    common = {"call_id": call_id(number), "node_id": "b5f2e6d0-7c1a-4f57-9d43-1b8e5a0f3c66@us-east"}
    call = common | {
        "segment_id": "3f6b1c88-2a53-4f0e-9e2d-6d6f0b7f9a01", "call_state": "created", "direction": "inbound",
        "type": "phone", "from": caller(number), "to": "+15558000000", "from_number": caller(number),
        "to_number": "+15558000000", "headers": [], "project_id": "9a1c7f6e-4e0d-4b7b-8f39-54b4c1d2a7e5",
        "space_id": "c2d7e8f1-0b3a-4c96-a5d4-7e6f5a4b3c2d"}
    return json.dumps({"call": call, "vars": {}, "envs": {}, "params": {}}, separators=(",", ":"))


def swaig_body(number):
    """A function call as the platform posts it. No two are the same bytes: a gateway may take those for a retry."""
    arguments = {"account_type": "checking", "include_pending": True}
    argument = {"parsed": [arguments], "raw": json.dumps(arguments), "substituted": ""}
    return function_call(number, FUNCTION, argument, {"global_data": {"verified": True, "turn": SEQUENCE}})


def required_body(number):
    return function_call(number, REQUIRED, {"parsed": [{"date_of_birth": "1980-01-01"}]}, {})


def ruled_body(number):
    """The same with what rules ask for: other arguments each time, a code, a fact, and what the caller said."""
    arguments = {"account_type": "checking", "last_four": "6789", "code": CODE, "reference": SEQUENCE}
    turns = [{"role": role, "content": text} for role, text in (
        ("assistant", "Which account is it about?"), ("user", "The checking account, please."),
        ("assistant", "Shall I read its balance? Say confirm."), ("user", "Yes, confirm."))]
    return function_call(number, FUNCTION, {"parsed": [arguments]},
                         {"global_data": {"account": "checking"}, "call_log": turns})


def function_call(number, function, argument, more):
    return json.dumps({
        "app_name": "bank", "function": function, "description": FUNCTIONS[function][0], "argument": argument,
        "argument_desc": schema(function), "call_id": call_id(number),
        "ai_session_id": "7d5b2f0c-93c4-4f0a-8f3d-d1f8a8a1c5b7", "caller_id_name": "EXAMPLE CALLER",
        "caller_id_num": caller(number), "channel_active": True, "channel_offhook": True, "channel_ready": True,
        "content_type": "text/swaig", "content_disposition": "SWAIG Function", "conversation_type": "voice",
        "version": "2.0",
        "project_id": "9a1c7f6e-4e0d-4b7b-8f39-54b4c1d2a7e5",
        "space_id": "c2d7e8f1-0b3a-4c96-a5d4-7e6f5a4b3c2d"} | more, separators=(",", ":"))


RULES_FOR_CALLS = (HERE / "rules_for_calls.yaml").read_text()
RULES = RULES_FOR_CALLS + (HERE / "rules_for_answers.yaml").read_text()
