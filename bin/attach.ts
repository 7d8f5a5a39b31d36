// How the verbs that attach do it: the client over ws, one line about what is being waited for, quiet words on reconnects.

import type { Client } from '@fame-fabric/client/client';
import { connectionText } from '@fame-fabric/client/connection-text';
import type { EnvelopeTrace } from '@fame-fabric/client/envelope-printer';
import { connect } from '@fame-fabric/client/node';
import { FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import { type ClientConfig, shownUrl } from './config.ts';

export interface AttachOptions {
  config: ClientConfig;
  note: (text: string) => void;
  /** Told when the connection is lost, and when it is there again. @default a note */
  onConnection?: (isThere: boolean) => void;
  trace?: EnvelopeTrace;
  signal?: AbortSignal;
}

/** A person who waits longer than this is told for what. */
const SAY_AFTER_MS = 700;

/** Attaches. @throws {LINK_TIMEOUT | LINK_REFUSED} */
export async function attach({
  config,
  note,
  onConnection = (isThere) => note(`${connectionText(isThere)}\n`),
  trace,
  signal,
}: AttachOptions): Promise<Client> {
  const waiting = systemClock.after(SAY_AFTER_MS, () => {
    const seconds = Math.round(config.connectTimeoutMs / 1000);
    note(
      `Waiting up to ${seconds} s for a sentinel at ${shownUrl(config.url)}. Is it running? \`make start\` starts it.\n`,
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
  } catch (error) {
    if (isFabricError(error, 'LINK_REFUSED') && error.details?.status !== undefined) {
      const text = `What answers at ${shownUrl(config.url)} is not a sentinel, or not one for this URL: HTTP ${error.details.status}. Check FAME_DIRECT_ADMISSION_URL and FAME_LISTENER_PORT; \`npx fame doctor\` looks closer`;
      throw new FabricError('LINK_REFUSED', text, { cause: error });
    }
    if (!isFabricError(error, 'LINK_TIMEOUT')) throw error;
    const text = `No sentinel answered at ${shownUrl(config.url)} within ${config.connectTimeoutMs / 1000} s: ${rootOf(error)}`;
    throw new FabricError('LINK_TIMEOUT', text, { cause: error });
  } finally {
    waiting.stop();
  }
  let isAway = false;
  client.onState((state) => {
    if (state === 'reconnecting' && !isAway) onConnection(false);
    if (state === 'attached' && isAway) onConnection(true);
    isAway = state === 'reconnecting';
  });
  return client;
}

// The message at the bottom, such as `connect ECONNREFUSED 127.0.0.1:8000`: those above repeat the URL and the fix.
const rootOf = (error: Error): string =>
  error.cause instanceof Error && error.cause.message !== '' ? rootOf(error.cause) : error.message;
