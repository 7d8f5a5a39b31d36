"""The dialogue agent of the Agere tutorial on Agere itself: two jobs, three handlers and one callback.

`agents/examples/agere-loop.ts` does the same on our task tree. Both read questions from standard input, until "exit".
"""
from __future__ import annotations

import asyncio
import json

from agere.commander import PASS_WORD, CommanderAsync, Job, handler, tasker
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter
from openai import OpenAI

WEATHER = {
    "beijing": {"location": "Beijing", "temperature": "10", "unit": "celsius"},
    "san francisco": {"location": "San Francisco", "temperature": "72", "unit": "fahrenheit"},
    "paris": {"location": "Paris", "temperature": "22", "unit": "celsius"},
}


def get_current_weather(location: str, unit: str | None = None) -> str:
    known = (weather for city, weather in WEATHER.items() if city in location.lower())
    return json.dumps(next(known, {"location": location, "temperature": "unknown"}))


FUNCTIONS = {"get_current_weather": get_current_weather}
PARAMETERS = {
    "type": "object",
    "properties": {
        "to_user": {"type": "string", "description": "Text for the user"},
        "location": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location"],
}
FUNCTION = {"name": "get_current_weather", "description": "Weather of a city", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]


def ask_model(context: list) -> object:
    # A retry of the client would take the next scripted answer.
    client = OpenAI(max_retries=0)
    return client.chat.completions.create(
        model="gpt-4", messages=context, stream=True, tools=TOOLS, tool_choice="auto"
    )


class ChatJob(Job):
    """One round: the answer to the last message of the context, with all of its calls."""

    def __init__(self, context: list):
        self.context = context
        super().__init__()

    @tasker(PASS_WORD)
    async def task(self):
        job = ResponseJob(ask_model(self.context), self.context)
        next_round = {"function": self.ask_user, "inject_task_node": True}
        job.add_callback_functions(which="at_job_end", functions_info=next_round)
        await self.put_job(job)

    async def ask_user(self, task_node: ChatJob):
        question = input("\033[32mYOU:\033[0m\n")
        if question == "exit":
            await self.exit_commander(return_result="QUIT")
            return
        self.context.append({"role": "user", "content": question})
        await task_node.put_job(job=ChatJob(self.context), parent=task_node.commander)


class ResponseJob(Job):
    def __init__(self, response: object, context: list):
        self.response = response
        self.context = context
        super().__init__()

    @tasker(PASS_WORD)
    async def task(self):
        return Handlers(self.context).response(response=self.response)


class Handlers:
    def __init__(self, context: list):
        self.context = context

    @handler(PASS_WORD)
    async def response(self, self_handler, response):
        chunks = LLMAsyncAdapter().llm_to_async_iterable(response=response)
        part = await async_dispatcher_tools_call_for_openai(source=chunks)
        text, calls = part("to_user"), part("function_call")
        self_handler.call_handler(self.user_text(text=text))
        self_handler.call_handler(self.tool_calls(calls=calls))

    @handler(PASS_WORD)
    async def user_text(self, self_handler, text):
        print("\n\033[31mGPT:\033[0m")
        pieces = []
        async for piece in text:
            print(piece, end="", flush=True)
            pieces.append(piece)
        print("\n")
        if pieces:
            self.context.append({"role": "assistant", "content": "".join(pieces)})

    @handler(PASS_WORD)
    async def tool_calls(self, self_handler, calls):
        made, results = [], []
        async for text in calls:
            call = json.loads(text) if text else {}
            if not call.get("name"):
                continue
            call_id, name, arguments = call["tool_call_id"], call["name"], call["arguments"]
            shown = ", ".join(f"{key}={value}" for key, value in arguments.items())
            print(f"Function call: {name}({shown}); ID: {call_id}.")
            function = FUNCTIONS.get(name)
            result = function(**arguments) if function else f"There is no tool named '{name}'."
            call_text = {"name": name, "arguments": json.dumps(arguments)}
            made.append({"id": call_id, "type": "function", "function": call_text})
            results.append({"role": "tool", "tool_call_id": call_id, "content": result})
        if not made:
            return
        self.context.append({"role": "assistant", "content": None, "tool_calls": made})
        self.context.extend(results)
        response = await asyncio.to_thread(ask_model, self.context)
        await self_handler.put_job(ResponseJob(response, self.context))


def main() -> None:
    question = input("\033[32mYOU:\033[0m\n")
    if question == "exit":
        print("QUIT")
        return
    print(CommanderAsync().run(ChatJob([{"role": "user", "content": question}])))


main()
