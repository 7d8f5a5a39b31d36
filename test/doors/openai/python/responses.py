"""D1: the Responses API through the official openai library for Python, unmodified. Prints the results of all cases as one line of JSON.

Argument: base URL of the door.
"""
import json
import sys

import openai

CLIENT = openai.OpenAI(base_url=sys.argv[1], api_key="any")
CREATE = CLIENT.responses.create
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": False,
}


def fault(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.param, error.code]
    return None


def text():
    response = CREATE(model="chat", input="Hi", instructions="Be short.")
    stored = CLIENT.responses.retrieve(response.id)
    return [response.status, response.output_text, stored.output_text, stored.instructions, response.usage.total_tokens]


def stream():
    with CLIENT.responses.stream(model="chat", input="Hi") as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        return ["".join(deltas), events.get_final_response().output_text]


def continued():
    first = CREATE(model="chat", input="one")
    return CREATE(model="chat", input="two", previous_response_id=first.id).output_text


def tools():
    first = CREATE(model="chat", input="Use the tool", tools=[WEATHER])
    call = first.output[0]
    town = json.loads(call.arguments)["town"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": f"sunny in {town}"}
    second = CREATE(model="chat", input=[result], previous_response_id=first.id, tools=[WEATHER])
    return [call.type, call.name, second.output_text]


def conversation():
    made = CLIENT.conversations.create(metadata={"topic": "tea"})
    CREATE(model="chat", input="one", conversation=made.id)
    items = CLIENT.conversations.items.list(made.id, order="asc")
    return [CLIENT.conversations.retrieve(made.id).metadata, [item.role for item in items]]


def background():
    response = CREATE(model="chat", input="Hold", background=True)
    cancelled = CLIENT.responses.cancel(response.id)
    return [response.status, cancelled.status, CLIENT.responses.retrieve(response.id).status]


def resumed():
    events = list(CREATE(model="chat", input="Hi", stream=True))
    middle = next(event for event in events if event.type == "response.content_part.added")
    rest = list(CLIENT.responses.retrieve(events[0].response.id, stream=True, starting_after=middle.sequence_number))
    return ["".join(event.delta for event in rest if event.type == "response.output_text.delta"), rest[-1].type]


CASES = {
    "text": text,
    "stream": stream,
    "continued": continued,
    "tools": tools,
    "conversation": conversation,
    "background": background,
    "resumed": resumed,
    "unknown": lambda: fault(lambda: CLIENT.responses.retrieve("resp_x")),
    "hosted": lambda: fault(lambda: CREATE(model="chat", input="Hi", tools=[{"type": "web_search"}])),
}

print(json.dumps({"responses": {name: case() for name, case in CASES.items()}}))
