# Python 3.12 or newer: pip install naylence-agent-sdk
import asyncio

from naylence.agent import BaseAgent, configs
from naylence.fame.service import operation


class Greeter(BaseAgent):
    @operation
    async def greet(self, name: str) -> str:
        return f"Hello, {name}!"

    @operation(name="count", streaming=True)
    async def count(self, to: int):
        for i in range(1, to + 1):
            yield i


asyncio.run(Greeter().aserve("greeter@fame.fabric", root_config=configs.NODE_CONFIG))
