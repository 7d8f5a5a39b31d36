# Python 3.12 or newer: pip install naylence-agent-sdk
import asyncio
import uuid

from naylence.agent import Agent, configs
from naylence.fame.core import FameFabric


async def main():
    async with FameFabric.create(root_config=configs.CLIENT_CONFIG):
        chat = Agent.remote_by_address("chat@fame.fabric")
        id = str(uuid.uuid4())
        await chat.start_task(id=id, payload={"system_prompt": "You are a concise assistant."})
        print(await chat.run_turn(id, "My name is Ada."))
        print(await chat.run_turn(id, "What is my name?"))
        await chat.end_conversation(id)


asyncio.run(main())
