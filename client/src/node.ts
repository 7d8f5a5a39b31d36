// The client library for Node: `connect` over the ws package.
import { sidOf, wsDial } from '@fame-fabric/shared/node';
import { type Client, connectWith } from './client.ts';
import type { ConnectOptions } from './index.ts';

/** Attaches to the sentinel at `url`, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
export const connect = (options: ConnectOptions): Promise<Client> =>
  connectWith({ dial: wsDial, sidOf, ...options });
