"""An agent of the unmodified Python peer: it attaches to FAME_DIRECT_ADMISSION_URL and serves the address it is given."""

import asyncio
import sys
from datetime import datetime, timezone

from naylence.agent import BackgroundTaskAgent, BaseAgent, configs
from naylence.agent.a2a_types import Artifact, DataPart, Task, TaskSendParams, TaskState, TaskStatus
from naylence.fame.service import operation


class MathAgent(BaseAgent):
    @operation
    async def add(self, x: int, y: int) -> int:
        return x + y

    @operation
    async def echo(self, value=None):
        return value

    @operation
    async def fail(self, text: str):
        raise RuntimeError(text)

    @operation(name="count", streaming=True)
    async def count(self, n: int):
        for i in range(1, n + 1):
            yield i


class WorkAgent(BackgroundTaskAgent):
    async def run_background_task(self, params: TaskSendParams):
        for step in range(1, 4):
            part = DataPart(data={"step": step})
            await self.update_task_artifact(params.id, Artifact(parts=[part], index=step))
            await asyncio.sleep(0.02)
        if await self.get_task_state(params.id) == TaskState.CANCELED:
            return None
        return {"steps": 3}


class ChatAgent(BaseAgent):
    """Needs `system_prompt`, as the chat agent of naylence's examples does."""

    def __init__(self):
        super().__init__()
        self.conversations = {}

    async def start_task(self, params: TaskSendParams) -> Task:
        self.conversations[params.id] = [params.message.parts[0].data["system_prompt"]]
        status = TaskStatus(state=TaskState.WORKING, timestamp=datetime.now(timezone.utc))
        return Task(id=params.id, status=status)

    @operation
    async def run_turn(self, conversation_id: str, user_message: str) -> str:
        conversation = self.conversations[conversation_id]
        conversation.append(user_message)
        return f"prompt: {conversation[0]}; messages: {len(conversation) - 1}"

    @operation
    async def end_conversation(self, conversation_id: str):
        del self.conversations[conversation_id]


KINDS = {"chat": ChatAgent, "math": MathAgent, "work": WorkAgent}

if __name__ == "__main__":
    kind, address = sys.argv[1:3]
    asyncio.run(KINDS[kind]().aserve(address, root_config=configs.NODE_CONFIG, log_level="info"))
