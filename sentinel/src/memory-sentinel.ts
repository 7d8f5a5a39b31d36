// A sentinel for the nodes of its own process: the same parts as behind a port, on transports in memory.
import type { Clock, Dial, Logger, Principal } from '@fame-fabric/shared';
import { newId, silentLog, systemClock } from '@fame-fabric/shared/router';
import { Access } from './access/access.ts';
import { CLOSE } from './close-codes.ts';
import { readSentinelConfig } from './config.ts';
import { MemoryNodes } from './memory-node.ts';
import { makeParts } from './parts.ts';

export interface MemorySentinelOptions {
  readonly clock?: Clock | undefined;
  /** @default none */
  readonly log?: Logger | undefined;
}

export interface MemorySentinel {
  /** Dial function for links of this process. Their `url` may be any text. */
  readonly dial: Dial;
  /** Closes all connections and refuses new ones. */
  close(): void;
}

/** Principal of every node: code of this process, which could read the local key as well. */
const LOCAL: Principal = Object.freeze({ id: 'local', roles: Object.freeze(['admin'] as const) });

/** Starts a sentinel without a port, with the default limits. Reads no environment. */
export function startMemorySentinel({
  clock = systemClock,
  log: baseLog = silentLog,
}: MemorySentinelOptions = {}): MemorySentinel {
  const access = new Access({ sources: [] });
  const options = { ...readSentinelConfig({}), id: newId() };
  const { admission, log, sessions, sweeper } = makeParts({ access, clock, log: baseLog }, options);
  const nodes = new MemoryNodes({ admission, remote: 'memory' });
  const authentication = Object.freeze({ ok: true, principal: LOCAL } as const);
  sweeper.start();
  return {
    dial: nodes.dial(() => authentication),
    close() {
      admission.stop();
      sweeper.stop();
      nodes.closeAll(CLOSE.goingAway, 'the fabric is closed');
      sessions.stop();
      log.flush();
    },
  };
}
