// How the verbs that attach do it: the client over ws, one line about what is being waited for, quiet words on reconnects.
import { systemClock } from '@fame-fabric/shared';
import type { Client } from '../client.ts';
import type { ClientConfig } from '../config.ts';
import type { EnvelopeTrace } from '../envelope-printer.ts';
import { connect } from '../node.ts';

export interface AttachOptions {
  config: ClientConfig;
  note: (text: string) => void;
  trace?: EnvelopeTrace;
  signal?: AbortSignal;
}

/** A person who waits longer than this is told for what. */
const SAY_AFTER_MS = 700;

/** Attaches. @throws {LINK_TIMEOUT | LINK_REFUSED} */
export async function attach({ config, note, trace, signal }: AttachOptions): Promise<Client> {
  const waiting = systemClock.after(SAY_AFTER_MS, () => {
    const seconds = Math.round(config.connectTimeoutMs / 1000);
    note(
      `Waiting up to ${seconds} s for a sentinel at ${config.url}. Is it running? \`make start\` starts it.\n`,
    );
  });
  let client: Client;
  try {
    client = await connect({
      url: config.url,
      connectTimeoutMs: config.connectTimeoutMs,
      ...(config.token === undefined ? {} : { token: config.token }),
      ...(trace ? { trace } : {}),
      ...(signal ? { signal } : {}),
    });
  } finally {
    waiting.stop();
  }
  let isAway = false;
  client.onState((state) => {
    if (state === 'reconnecting' && !isAway) note('Reconnecting...\n');
    if (state === 'attached' && isAway) note('Connected again.\n');
    isAway = state === 'reconnecting';
  });
  return client;
}
