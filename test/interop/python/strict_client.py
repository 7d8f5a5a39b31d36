"""A client of the unmodified Python peer. It calls the agent at the given address and prints the results as JSON."""

import asyncio
import json
import sys

from naylence.agent import Agent, configs
from naylence.fame.core import FameFabric


async def main() -> list:
    async with FameFabric.create(root_config=configs.CLIENT_CONFIG):
        agent = Agent.remote_by_address(sys.argv[1])
        return [await agent.add(3, 4), [item async for item in await agent.count(5, _stream=True)]]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
