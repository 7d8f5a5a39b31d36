"""A sentinel of the unmodified Python peer, on FAME_LISTENER_PORT."""

import asyncio

from naylence.agent import configs
from naylence.fame.sentinel import Sentinel

if __name__ == "__main__":
    asyncio.run(Sentinel.aserve(root_config=configs.SENTINEL_CONFIG, log_level="warning"))
