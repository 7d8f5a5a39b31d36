// A sentinel of the unmodified peer, on FAME_LISTENER_PORT.
import { SENTINEL_CONFIG } from '@naylence/agent-sdk';
import { Sentinel } from '@naylence/runtime';

await Sentinel.aserve({ rootConfig: SENTINEL_CONFIG, logLevel: process.env.PEER_LOG ?? 'warning' });
