// A sentinel of naylence for TypeScript on FAME_LISTENER_PORT. With MATRIX_PEER_URL it is a peer of the sentinel there.
import { SENTINEL_CONFIG } from '@naylence/agent-sdk';
import { Sentinel } from '@naylence/runtime';

const node = { ...SENTINEL_CONFIG.node };
if (process.env.MATRIX_PEER_URL) node.peers = [{ direct_url: process.env.MATRIX_PEER_URL }];
await Sentinel.aserve({ rootConfig: { ...SENTINEL_CONFIG, node }, logLevel: 'warning' });
