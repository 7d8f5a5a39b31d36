"""A sentinel of naylence for Python on FAME_LISTENER_PORT. With MATRIX_PEER_URL it is a peer of the sentinel there."""

import asyncio
import os

from naylence.agent import configs
from naylence.fame.sentinel import Sentinel

node = dict(configs.SENTINEL_CONFIG["node"])
if "MATRIX_PEER_URL" in os.environ:
    node["peers"] = [{"direct_url": os.environ["MATRIX_PEER_URL"]}]

if __name__ == "__main__":
    asyncio.run(Sentinel.aserve(root_config={"node": node}, log_level="warning"))
