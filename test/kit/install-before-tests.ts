// Runs once before the tests that need packages of their own or of the system, so that no two files install at the same time.
import { ensureFaketime } from './faketime.ts';
import { ensurePackagingTools } from './install-packages.ts';
import { ensureMermaid } from './mermaid.ts';
import { NATS_SERVER } from './nats.ts';
import { ensureInstalled } from './naylence.ts';
import { ensureProxies } from './proxies.ts';

export const setup = (): void => {
  ensureInstalled();
  ensureMermaid();
  ensurePackagingTools();
  ensureFaketime();
  NATS_SERVER.ensure();
  ensureProxies();
};
