"""The clients of the examples, in naylence for Python. It reads one JSON command a line, {"seq", "verb", ...targets}, and prints
one JSON answer a line."""

import asyncio
import json
import sys
import time

from naylence.agent import Agent, TaskIdParams, configs, make_task_params
from naylence.fame.core import FameFabric, generate_id

remote = Agent.remote_by_address


async def collect(stream) -> list:
    return [item async for item in await stream]


async def follow(address: str, payload: dict, is_cancelled: bool = False) -> dict:
    """Starts a task and follows it. With `is_cancelled`, cancels it when half of the steps are done."""
    agent = remote(address)
    params = make_task_params(id=generate_id(), payload=payload)
    await agent.start_task(params)
    states, progress = [], 0
    async for event in await agent.subscribe_to_task_updates(params):
        if hasattr(event, "status"):
            states.append(event.status.state.value)
        else:
            before, progress = progress, event.artifact.parts[0].data["progress"]
            if is_cancelled and before < 0.5 <= progress:
                await agent.cancel_task(TaskIdParams(id=params.id))
    return {"states": states, "hasProgress": progress > 0}


async def rpc(math):
    return [await remote(math).add(x=3, y=4), await remote(math).multiply(x=6, y=7)]


async def multi_agent(analysis, workers):
    text = "The pictures are good. The plot is simple, but it works."
    return await remote(analysis).run_task({"text": text, "workers": workers})


async def conversation(chat):
    agent, id = remote(chat), generate_id()
    await agent.start_task(make_task_params(id=id, payload={"system_prompt": "Be brief."}))
    replies = [await agent.run_turn(id, "one"), await agent.run_turn(id, "two")]
    await agent.end_conversation(id)
    return replies


async def send(to, message):
    ack = await FameFabric.current().send_message(to, message)
    return {"ok": None if ack is None else ack.ok}


async def pools(pool):
    return await asyncio.gather(*(remote(pool).whoami() for _ in range(20)))


EXAMPLES = {
    "rpc": rpc,
    "stream": lambda math: collect(remote(math).fib_stream(n=10, _stream=True)),
    "capability": lambda capabilities: Agent.remote_by_capabilities(capabilities).add(x=3, y=4),
    "status": lambda work: follow(work, {"steps": 3, "stepMs": 300}),
    "cancellable": lambda work: follow(work, {"steps": 8, "stepMs": 200}, is_cancelled=True),
    "push": lambda receiver, sender: remote(receiver).run_task({"sender": sender}),
    "multi-agent": multi_agent,
    "conversation": conversation,
    "send": send,
    "received": lambda inbox: remote(inbox).received(),
    "store": lambda keeper, key, value: remote(keeper).store(key, value),
    "retrieve": lambda keeper, key: remote(keeper).retrieve(key),
    "handled": lambda crashing: remote(crashing).handled(),
    "pools": pools,
    "delegate": lambda via, to: remote(via).delegate(to=to, x=6, y=7),
    "add": lambda math: remote(math).add(x=3, y=4),
    "slow": lambda math, ms, tag: remote(math).slow(ms=ms, tag=tag),
}


def report(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


async def run(line: str) -> None:
    command = json.loads(line)
    seq, verb = command.pop("seq"), command.pop("verb")
    began = time.monotonic()
    try:
        answer = {"ok": True, "result": await EXAMPLES[verb](**command)}
    except Exception as error:  # any kind: its text is the result
        answer = {"ok": False, "error": str(error) or repr(error)}
    report({"seq": seq, **answer, "ms": round((time.monotonic() - began) * 1000)})


async def main() -> None:
    async with FameFabric.create(root_config=configs.CLIENT_CONFIG):
        report({"event": "ready"})
        running = set()
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(run(line))
            running.add(task)
            task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
