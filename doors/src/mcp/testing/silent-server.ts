// A server without agents, for tests of sessions.
import { silentLog, systemClock } from '@fame-fabric/shared';
import { mcpServer } from '../mcp-server.ts';
import type { TaskServer } from '../sdk.ts';

export const silentServer = (): TaskServer =>
  mcpServer(
    { clock: systemClock, log: silentLog, version: '1.0.0', chatAddress: 'chat@fame.fabric' },
    { hasTasks: false },
  );
