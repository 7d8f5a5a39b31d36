"""A client of the unmodified Python peer. It makes a series of calls and prints one JSON object with the results by name.
With the argument `math` it calls the math agents only."""

import asyncio
import json
import sys

from naylence.agent import Agent, configs, make_task_params
from naylence.fame.core import FameFabric

MATH_TS, MATH_PY = "math@fame.fabric", "math-py@fame.fabric"
CHAT = "chat@fame.fabric"


async def collect(stream) -> list:
    return [item async for item in stream]


async def talk() -> dict:
    """Three turns with the chat agent that depend on each other."""
    chat = Agent.remote_by_address(CHAT)
    payload = {"system_prompt": "Be brief.", "max_history_length": 5}
    task = await chat.start_task(make_task_params(id="py-1", payload=payload))
    await chat.run_turn("py-1", "My name is Ada.")
    sums = await chat.run_turn(conversation_id="py-1", user_message="What is 6 times 7?")
    name = await chat.run_turn("py-1", "What is my name?")
    await chat.end_conversation("py-1")
    return {"started": task.status.state, "sums": sums, "name": name}


async def follow(agent) -> list:
    params = make_task_params(id="py-work", payload={})
    await agent.start_task(params)
    events = []
    async for event in await agent.subscribe_to_task_updates(params):
        events.append("artifact" if hasattr(event, "artifact") else str(event.status.state.value))
    return events


async def refused(call) -> str:
    try:
        await call
    except Exception as error:  # any kind: its text is the result
        return str(error)
    return "no error"


async def main() -> dict:
    results = {}
    async with FameFabric.create(root_config=configs.CLIENT_CONFIG):
        for name, address in {"ts": MATH_TS, "py": MATH_PY}.items():
            agent = Agent.remote_by_address(address)
            burst = await asyncio.gather(*(agent.echo(n) for n in range(100)))
            results[name] = {
                "add": await agent.add(3, 4),
                "named": await agent.add(x=30, y=12),
                "count": await collect(await agent.count(300, _stream=True)) == list(range(1, 301)),
                "burst": burst == list(range(100)),
                "fail": await refused(agent.fail("deliberate")),
            }
        if "math" not in sys.argv[1:]:
            results["chat"] = await talk()
            results["work"] = await follow(Agent.remote_by_address("work-py@fame.fabric"))
        results["unserved"] = await refused(Agent.remote_by_address("unserved@fame.fabric").any())
    return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
    sys.stdout.flush()
