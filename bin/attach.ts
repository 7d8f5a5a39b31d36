// Attaches a command to the sentinel. Reports a long wait, a failure with its cause, and lost connections.
import type { Client, EnvelopeTrace } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { ERRORS, type ErrorCode, FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import { explainError, leastTrustedUrl, mayNeedTls, redactUrl } from '@fame-fabric/shared/internal';
import { AdmissionToken, wsDialWith } from '@fame-fabric/shared/node';
import type { ClientConfig } from './config.ts';

export interface AttachOptions {
  config: ClientConfig;
  writeNote: (text: string) => void;
  /** Called when the connection is lost, and when it is restored. */
  onConnection: (isConnected: boolean) => void;
  trace?: EnvelopeTrace | undefined;
  signal?: AbortSignal | undefined;
}

/** Delay before a note about the wait. */
const NOTE_DELAY_MS = 700;

/** Attaches to the sentinel of `config`. @throws {LINK_TIMEOUT | LINK_REFUSED | AUTH_MISSING | AUTH_INVALID | AUTH_FORBIDDEN} */
export async function attach(options: AttachOptions): Promise<Client> {
  const { config, writeNote, onConnection } = options;
  const note = systemClock.after(NOTE_DELAY_MS, () => {
    const seconds = Math.round(config.connectTimeoutMs / 1_000);
    writeNote(
      `Waiting up to ${seconds} s for a sentinel at ${redactUrl(config.url)}. \`make start\` starts one.\n`,
    );
  });
  const token = new AdmissionToken(leastTrustedUrl(config), config.token, (message) =>
    writeNote(`${message}\n`),
  );
  let isLost = false;
  let hasReported = false;
  // A lost node retries without a limit. Only an operator can end a refusal of its credential.
  const onAttachFailed = (error: unknown): void => {
    if (!isLost || hasReported || !isFabricError(error) || ERRORS[error.code as ErrorCode]?.area !== 'auth')
      return;
    hasReported = true;
    writeNote(`${explainError(token.explain(error))}\n`);
  };
  let client: Client;
  try {
    client = await connect({
      url: config.url,
      otherUrls: config.otherUrls,
      connectTimeoutMs: config.connectTimeoutMs,
      token,
      dial: wsDialWith(config.certificate),
      securityProfile: config.securityProfile,
      trace: options.trace,
      signal: options.signal,
      onAttachFailed,
    });
  } catch (error) {
    throw explainAttachError(token.explain(error), config);
  } finally {
    note.stop();
  }
  client.onState((state) => {
    if (state === 'reconnecting' && !isLost) onConnection(false);
    if (state === 'attached' && isLost) onConnection(true);
    isLost = state === 'reconnecting';
    if (!isLost) hasReported = false;
  });
  return client;
}

function explainAttachError(error: unknown, { url, connectTimeoutMs }: ClientConfig): unknown {
  if (isFabricError(error, 'LINK_REFUSED') && error.details?.answer === 'not-http') {
    const text = `The server at ${redactUrl(url)} is not a sentinel: its answer is not HTTP. Check FAME_DIRECT_ADMISSION_URL and FAME_LISTENER_PORT`;
    return new FabricError('LINK_REFUSED', text, { cause: error });
  }
  if (isFabricError(error, 'LINK_REFUSED') && error.details?.status !== undefined) {
    const { reason, status } = error.details;
    if (typeof reason === 'string') {
      const refusal = `The server at ${redactUrl(url)} refused the connection (HTTP ${status}): ${reason}`;
      return new FabricError('LINK_REFUSED', refusal, { cause: error });
    }
    const text = `The server at ${redactUrl(url)} is not a sentinel, or has no such path: HTTP ${status}. Check FAME_DIRECT_ADMISSION_URL and FAME_LISTENER_PORT; \`npx fame-fabric doctor\` shows more`;
    return new FabricError('LINK_REFUSED', text, { cause: error });
  }
  if (!isFabricError(error, 'LINK_TIMEOUT')) return error;
  const hint = mayNeedTls(url, error) ? '. If its port speaks TLS, the URL begins with wss://' : '';
  const text = `No sentinel answered at ${redactUrl(url)} within ${connectTimeoutMs / 1_000} s: ${rootMessage(error)}${hint}`;
  return new FabricError('LINK_TIMEOUT', text, { cause: error });
}

// The innermost message, such as `connect ECONNREFUSED 127.0.0.1:8000`. The outer ones repeat the URL and the fix.
const rootMessage = (error: Error): string =>
  error.cause instanceof Error && error.cause.message !== '' ? rootMessage(error.cause) : error.message;
