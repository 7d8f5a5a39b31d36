"""A pytest plugin for the A2A TCK: makes the id of each message unique, as section 4.1.4 of the specification asks.

The TCK sends many messages with one id. The A2A door takes such a message for a repeated request, and returns the task of the first
one. The scenarios are selected by a prefix of the id, so a suffix does not change them.

Usage: PYTHONPATH=<this folder> ./run_tck.py ... -- -p tck_unique_ids
"""

import functools
import uuid

from tck.transport.http_json_client import HttpJsonClient
from tck.transport.jsonrpc_client import JsonRpcClient


def _with_unique_id(send):
    @functools.wraps(send)
    def wrapper(self, message, **options):
        message_id = f"{message['messageId']}-{uuid.uuid4().hex}"
        return send(self, {**message, "messageId": message_id}, **options)

    return wrapper


for client in (HttpJsonClient, JsonRpcClient):
    for name in ("send_message", "send_streaming_message"):
        setattr(client, name, _with_unique_id(getattr(client, name)))
