// The client of this page: one node that calls the agents, over the WebSocket of the sentinel that serves the page.
import { type Client, connect } from '@fame-fabric/client';
import { effect, signal } from '@preact/signals';
import { isUnauthorized, keyInMemory } from './api.ts';
import { checkSession, sessionView } from './session.ts';

export type ConnectionState = 'idle' | 'connecting' | 'attached' | 'reconnecting' | 'closed';

/** The client of this page; undefined before the first attach and after the sign-out. */
export const client = signal<Client | undefined>(undefined);
export const connectionState = signal<ConnectionState>('idle');
/** The error of the last attempt to attach; undefined while the page is attached. */
export const connectionError = signal<unknown>(undefined);

/** Admission URL of the sentinel that served the page. */
const admissionUrl = (): string =>
  `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/fame/v1/attach/ws/downstream`;

/** Pause between attempts to attach for the first time. Later attempts are those of the link. */
const RETRY_MS = 2_000;

/** Connects with the current credential until `signal` aborts. Resolves when the connection is closed. */
async function keepConnected(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    connectionState.value = 'connecting';
    try {
      const token = keyInMemory();
      const connected = await connect({
        url: admissionUrl(),
        signal,
        ...(token !== undefined && { token }),
        onAttachFailed: (error) => {
          connectionError.value = error;
          if (isUnauthorized(error)) void checkSession();
        },
      });
      await serve(connected, signal);
    } catch (error) {
      if (signal.aborted) return;
      connectionError.value = error;
      connectionState.value = 'closed';
    }
    await pause(RETRY_MS, signal);
  }
}

/** Publishes the client until it is closed, by its link or by `signal`. */
async function serve(connected: Client, signal: AbortSignal): Promise<void> {
  const closed = Promise.withResolvers<void>();
  const show = (): void => {
    const { state } = connected;
    connectionState.value = state === 'draining' ? 'reconnecting' : state;
    if (state === 'attached') connectionError.value = undefined;
    if (state === 'closed') closed.resolve();
  };
  const stop = connected.onState(show);
  const onAbort = (): void => void connected.close();
  signal.addEventListener('abort', onAbort);
  client.value = connected;
  show();
  if (signal.aborted) onAbort();
  await closed.promise;
  stop();
  signal.removeEventListener('abort', onAbort);
  if (client.value === connected) client.value = undefined;
}

/** Waits `ms`; ends early when `signal` aborts. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });

/** Keeps the page connected while its session may attach. A new sign-in connects anew. Returns a function that ends this. */
export function startConnection(): () => void {
  return effect(() => {
    const view = sessionView.value;
    if (view === undefined || (view.isCredentialNeeded && !view.isSignedIn)) {
      connectionState.value = 'idle';
      return undefined;
    }
    const controller = new AbortController();
    void keepConnected(controller.signal);
    return () => controller.abort();
  });
}
