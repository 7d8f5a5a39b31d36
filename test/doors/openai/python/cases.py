"""D1: the official openai library for Python and LiteLLM, unmodified. Prints the results of all cases as one line of JSON.

Arguments: base URL of the door, base URL of a proxy that loses the first two responses, and the names of the suites.
"""
import asyncio
import json
import sys

import openai

DOOR, PROXY = sys.argv[1:3]
HI = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


def fault(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.param, error.code]
    return None


def with_tools(create):
    question = {"role": "user", "content": "Use the tool"}
    first = create(messages=[question], tools=[WEATHER]).choices[0]
    call = first.message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny in " + json.loads(call.function.arguments)["town"]}
    messages = [question, first.message.model_dump(exclude_none=True), result]
    second = create(messages=messages, tools=[WEATHER]).choices[0]
    return [first.finish_reason, second.message.content]


def streamed(chunks):
    chunks = list(chunks)
    return {
        "role": chunks[0].choices[0].delta.role,
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "tokens": getattr(getattr(chunks[-1], "usage", None), "total_tokens", None),
    }


def openai_cases():
    client = openai.OpenAI(base_url=DOOR, api_key="any")
    create = client.chat.completions.create
    raw = client.chat.completions.with_raw_response.create(**HI)

    async def at_once():
        many = openai.AsyncOpenAI(base_url=DOOR, api_key="any")
        answers = await asyncio.gather(*[many.chat.completions.create(**HI) for _ in range(8)])
        return len({answer.id for answer in answers})

    def conversation():
        headers = {"X-Conversation-Id": "python"}
        messages = [{"role": "user", "content": "one"}]
        first = create(model="chat", messages=messages, extra_headers=headers)
        messages += [{"role": "assistant", "content": first.choices[0].message.content}]
        messages += [{"role": "user", "content": "two"}]
        second = create(model="chat", messages=messages, extra_headers=headers)
        return [second.metadata["conversation_id"], second.choices[0].message.content]

    lost = openai.OpenAI(base_url=PROXY, api_key="any")
    return {
        "models": [model.id for model in client.models.list()],
        "text": raw.parse().choices[0].message.content,
        "headers": sorted(name for name in raw.headers if name.startswith("x-") and name.endswith("-id")),
        "stream": streamed(create(**HI, stream=True, stream_options={"include_usage": True})),
        "tools": with_tools(lambda **more: create(model="chat", **more)),
        "at_once": asyncio.run(at_once()),
        "conversation": conversation(),
        "unknown": fault(lambda: client.chat.completions.create(**{**HI, "model": "nobody"})),
        "n": fault(lambda: create(**HI, n=2)),
        "image": fault(
            lambda: create(
                model="chat",
                messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
            )
        ),
        "lost": lost.chat.completions.create(**{**HI, "messages": [{"role": "user", "content": "Lost"}]})
        .choices[0]
        .message.content,
    }


def litellm_cases():
    import litellm

    litellm.suppress_debug_info = True

    def create(**more):
        return litellm.completion(**{"model": "openai/chat", "api_base": DOOR, "api_key": "any", **HI, **more})

    def error(call):
        try:
            call()
        except Exception as thrown:  # LiteLLM has a class of its own for each status
            return [type(thrown).__name__, getattr(thrown, "status_code", None)]
        return None

    name = {"model": "openai/chat"}
    return {
        "text": create(**name).choices[0].message.content,
        "stream": streamed(create(**name, stream=True, stream_options={"include_usage": True})),
        "tools": with_tools(lambda **more: create(**name, **more)),
        "unknown": error(lambda: create(model="openai/nobody")),
        "n": error(lambda: create(**name, n=2)),
    }


SUITES = {"openai": openai_cases, "litellm": litellm_cases}
print(json.dumps({name: SUITES[name]() for name in sys.argv[3:]}))
