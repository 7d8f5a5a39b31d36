"""Agents of naylence for Python that the examples of the matrix call: `agents.py KIND=ADDRESS...`. All attach as one node to
FAME_DIRECT_ADMISSION_URL. The node prints `served` once every address is bound."""

import asyncio
import json
import os
import sys
from datetime import datetime, timezone

from naylence.agent import Agent, BackgroundTaskAgent, BaseAgent, BaseAgentState, configs
from naylence.agent import PushNotificationConfig, TaskPushNotificationConfig
from naylence.agent.a2a_types import Artifact, DataPart, Task, TaskSendParams, TaskState, TaskStatus
from naylence.fame.core import AGENT_CAPABILITY, FameFabric
from naylence.fame.service import operation

remote = Agent.remote_by_address


def report(event: str) -> None:
    print(json.dumps({"event": event}), flush=True)


class MathAgent(BaseAgent):
    @property
    def capabilities(self):
        return [AGENT_CAPABILITY, f"fame.capability.{self.name}"]

    @operation
    async def add(self, x: int, y: int) -> int:
        return x + y

    @operation
    async def multiply(self, x: int, y: int) -> int:
        return x * y

    @operation(name="fib_stream", streaming=True)
    async def fib(self, n: int):
        a, b = 0, 1
        for _ in range(n):
            yield a
            a, b = b, a + b

    @operation
    async def slow(self, ms: int, tag: str) -> str:
        report(tag)
        await asyncio.sleep(ms / 1000)
        return "done"

    @operation
    async def delegate(self, to: str, x: int, y: int) -> int:
        """Calls another agent."""
        return await remote(to).multiply(x=x, y=y)

    @operation
    async def whoami(self) -> int:
        return os.getpid()


class WorkAgent(BackgroundTaskAgent):
    """Works in steps; the payload is {"steps", "stepMs"}."""

    async def run_background_task(self, params: TaskSendParams):
        plan = params.message.parts[0].data
        for step in range(1, plan["steps"] + 1):
            await asyncio.sleep(plan["stepMs"] / 1000)
            part = DataPart(data={"progress": step / plan["steps"]})
            await self.update_task_artifact(params.id, Artifact(parts=[part]))
        return {"steps": plan["steps"]}


class ReceiverAgent(BackgroundTaskAgent):
    """Registers itself for notifications of a task of `sender`, runs that task, and returns the notifications."""

    def __init__(self, name: str):
        super().__init__(name)
        self.notifications = {}

    async def run_background_task(self, params: TaskSendParams):
        task = f"{params.id}-sender"
        queue = self.notifications[task] = asyncio.Queue()
        sender = remote(params.message.parts[0].data["sender"])
        endpoint = PushNotificationConfig(url=f"{self.name}@fame.fabric")
        await sender.register_push_endpoint(
            TaskPushNotificationConfig(id=task, pushNotificationConfig=endpoint)
        )
        await sender.run_task(id=task)
        return {"notifications": [await queue.get() for _ in range(3)]}

    async def on_message(self, message: dict):
        self.notifications[message["task_id"]].put_nowait(message["message"])


class SenderAgent(BackgroundTaskAgent):
    """Its task sends three notifications to the registered address."""

    def __init__(self, name: str):
        super().__init__(name)
        self.endpoints = {}

    async def run_background_task(self, params: TaskSendParams):
        for n in range(1, 4):
            message = {"task_id": params.id, "message": f"notification {n}"}
            await FameFabric.current().send_message(self.endpoints[params.id], message)

    async def register_push_endpoint(self, config: TaskPushNotificationConfig):
        self.endpoints[config.id] = config.pushNotificationConfig.url
        return config


class SummarizerAgent(BaseAgent):
    async def run_task(self, payload, id):
        return payload.split(".")[0] + "."


class SentimentAgent(BaseAgent):
    async def run_task(self, payload, id):
        return "mixed" if "but" in payload else "clear"


class AnalysisAgent(BaseAgent):
    """Sends a text to other agents at once, and combines the results."""

    async def run_task(self, payload, id):
        (_, summary), (_, sentiment) = await Agent.broadcast(payload["workers"], payload["text"])
        return {"summary": summary, "sentiment": sentiment}


class ChatAgent(BaseAgent):
    """A conversation without a model: a reply contains all messages so far."""

    def __init__(self, name: str):
        super().__init__(name)
        self.conversations = {}

    async def start_task(self, params: TaskSendParams) -> Task:
        self.conversations[params.id] = []
        status = TaskStatus(state=TaskState.WORKING, timestamp=datetime.now(timezone.utc))
        return Task(id=params.id, status=status)

    @operation
    async def run_turn(self, conversation_id: str, user_message: str) -> str:
        messages = self.conversations[conversation_id]
        messages.append(user_message)
        return ", then ".join(messages)

    @operation
    async def end_conversation(self, conversation_id: str):
        del self.conversations[conversation_id]


class InboxAgent(BaseAgent):
    """Keeps the plain messages that it receives."""

    def __init__(self, name: str):
        super().__init__(name)
        self.messages = []

    async def on_message(self, message):
        self.messages.append(message)

    @operation
    async def received(self) -> list:
        return self.messages


class KeptValues(BaseAgentState):
    values: dict = {}


class KeeperAgent(BaseAgent[KeptValues]):
    """Its state survives a restart of the process."""

    @operation
    async def store(self, key: str, value: str) -> str:
        async with self.state as state:
            state.values[key] = value
        return value

    @operation
    async def retrieve(self, key: str):
        return (await self.get_state()).values.get(key)


class Attempts(BaseAgentState):
    counts: dict = {}
    done: list = []


class CrashingAgent(BaseAgent[Attempts]):
    """Its process crashes while it handles a message for the first time. The next process handles the message again."""

    async def on_message(self, message):
        async with self.state as state:
            attempts = state.counts[message] = state.counts.get(message, 0) + 1
        if attempts == 1:
            await asyncio.sleep(0.1)
            os._exit(1)
        async with self.state as state:
            state.done.append(message)

    @operation
    async def handled(self) -> list:
        return (await self.get_state()).done


KINDS = {
    "math": MathAgent,
    "work": WorkAgent,
    "receiver": ReceiverAgent,
    "sender": SenderAgent,
    "summarizer": SummarizerAgent,
    "sentiment": SentimentAgent,
    "analysis": AnalysisAgent,
    "chat": ChatAgent,
    "inbox": InboxAgent,
    "keeper": KeeperAgent,
    "crashing": CrashingAgent,
}


async def main() -> None:
    node = dict(configs.NODE_CONFIG["node"])
    # A node that asks for a wildcard binds its addresses as members of a pool.
    if "MATRIX_POOL" in os.environ:
        node["requested_logicals"] = ["*.fame.fabric"]
    async with FameFabric.create(root_config={"node": node}) as fabric:
        for argument in sys.argv[1:]:
            kind, address = argument.split("=")
            await fabric.serve(KINDS[kind](address.split("@")[0]), address)
        report("served")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
