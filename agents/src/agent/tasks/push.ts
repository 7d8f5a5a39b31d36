// Push notifications of tasks: a plain message to a Fame address, or a POST to an https URL through `safe-fetch.ts`. They are sent
// in order per task, those of the Fame protocol at most once and those of A2A at least once. A task never waits for them.
import {
  type Clock,
  FabricError,
  isFabricError,
  type Logger,
  newId,
  type PushNotificationConfig,
  tryParseAddress,
} from '@fame-fabric/shared';
import { Backoff, isUnder, KeyedQueue, pause } from '@fame-fabric/shared/internal';
import type { SafeFetch } from '../../net/safe-fetch.ts';
import type { OperationContext, Outbound } from '../operation.ts';

/** Maximum queued notifications of one task. */
const MAX_WAITING = 31;
/** Attempts to send a notification of A2A, and the pauses between them. */
const MAX_ATTEMPTS = 6;
const PAUSES = Object.freeze({ minMs: 1_000, maxMs: 30_000 });
/** Statuses below 500 after which another attempt may succeed. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429]);

/** The part of a call that its push address is checked with. */
export type PushContext = Pick<OperationContext, 'caller' | 'callerServes'>;

interface NotifierDeps {
  link: Pick<Outbound, 'send'>;
  safeFetch: SafeFetch;
  /** Addresses of any node that every caller may name. @default none */
  pushAddresses?: readonly string[] | undefined;
  clock: Clock;
  log: Logger;
}

export class Notifier {
  readonly #deps: NotifierDeps;
  /** POSTs, in order within a task and side by side across tasks. */
  readonly #posts = new KeyedQueue({ maxRunning: Number.POSITIVE_INFINITY, maxWaitingPerKey: MAX_WAITING });
  readonly #closing = new AbortController();

  constructor(deps: NotifierDeps) {
    this.#deps = deps;
  }

  /**
   * Checks that notifications may go to the URL: an https URL, or an address of the caller. Otherwise any caller could send messages to
   * any node in the name of the agent.
   * @throws {PARAMS_INVALID} if the URL is no Fame address @throws {AUTH_FORBIDDEN} if the address is not one of the caller
   * @throws {OUTBOUND_FORBIDDEN} by `SafeFetch.check`
   */
  async check({ url, format }: PushNotificationConfig, context: PushContext): Promise<void> {
    if (isHttp(url)) {
      this.#deps.safeFetch.check(url);
      return;
    }
    if (format === 'a2a') {
      throw new FabricError('PARAMS_INVALID', 'pushNotificationConfig.url: expected an https URL');
    }
    const address = tryParseAddress(url);
    // Refuse reply mailboxes and system inboxes: a notification there could be mistaken for another message.
    if (!address || address.participant.startsWith('__')) {
      throw new FabricError(
        'PARAMS_INVALID',
        'pushNotificationConfig.url: expected a Fame address, such as receiver@fame.fabric, or an https URL',
      );
    }
    if (this.#deps.pushAddresses?.includes(url)) return;
    const isOwn = address.host
      ? await context.callerServes(url)
      : isUnder(address.path ?? '', (await context.caller)?.path ?? url);
    if (isOwn) return;
    throw new FabricError(
      'AUTH_FORBIDDEN',
      'pushNotificationConfig.url: No node of the principal that calls serves this address. Bind the address first, or list it in `pushAddresses` of the tasks.',
    );
  }

  /** Sends `{ task_id, ...payload }` after the earlier notifications of the task. Failures are logged. */
  notify(config: PushNotificationConfig, taskId: string, payload: Record<string, unknown>): void {
    const notification = { task_id: taskId, ...payload };
    if (isHttp(config.url)) this.#queue(config, taskId, notification);
    else this.#sendMessage(config.url, taskId, notification);
  }

  /** Sends an event of A2A after the earlier notifications of the task, until it is accepted or 6 attempts have failed. */
  notifyA2A(config: PushNotificationConfig, taskId: string, event: Record<string, unknown>): void {
    this.#queue(config, taskId, event);
  }

  /** Ends the repeated attempts. */
  close(): void {
    this.#closing.abort();
  }

  #queue(config: PushNotificationConfig, taskId: string, notification: Record<string, unknown>): void {
    // Serialize now, because the task may change before the notification is sent.
    const body = JSON.stringify(notification);
    const run = (): Promise<void> => this.#deliver(config, body, taskId);
    if (this.#posts.add({ key: `${taskId} ${config.id ?? ''}`, run }) === 'key-full') {
      this.#deps.log.warn('push notification dropped: the queue of the task is full', { taskId });
    }
  }

  /** Resolves when no notification is queued or in flight. */
  idle(): Promise<void> {
    return this.#posts.idle();
  }

  #sendMessage(address: string, taskId: string, payload: Record<string, unknown>): void {
    try {
      this.#deps.link.send(address, payload);
    } catch (error) {
      this.#deps.log.warn('push notification not sent', { taskId, to: address, error });
    }
  }

  async #deliver(config: PushNotificationConfig, body: string, taskId: string): Promise<void> {
    const { host } = new URL(config.url);
    const id = newId();
    const backoff = new Backoff(PAUSES);
    const attempts = config.format === 'a2a' ? MAX_ATTEMPTS : 1;
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#post(config, body, id);
      if (!failure) return;
      const { isPassing, ...reason } = failure;
      if (!isPassing || attempt >= attempts || this.#closing.signal.aborted) {
        this.#deps.log.warn('push notification not delivered', { taskId, host, attempt, ...reason });
        return;
      }
      await pause(this.#deps.clock, backoff.nextDelayMs(), this.#closing.signal).catch(() => {}); // closing ends the pause
    }
  }

  /** Sends a notification once. Returns the reason if it was not accepted. */
  async #post(
    config: PushNotificationConfig,
    body: string,
    id: string,
  ): Promise<{ isPassing: boolean; status?: number; error?: unknown } | undefined> {
    try {
      const { status } = await this.#deps.safeFetch(config.url, {
        method: 'POST',
        headers: {
          'content-type': config.format === 'a2a' ? 'application/a2a+json' : 'application/json',
          'x-fame-notification-id': id,
          ...(config.token ? { 'x-a2a-notification-token': config.token } : {}),
          ...authorization(config),
        },
        body,
      });
      if (status < 300) return undefined;
      return { status, isPassing: status >= 500 || PASSING.has(status) };
    } catch (error) {
      return { error, isPassing: isFabricError(error, 'OUTBOUND_FAILED') };
    }
  }
}

const isHttp = (url: string): boolean => /^https?:/i.test(url.trim());

function authorization({ authentication, format }: PushNotificationConfig): Record<string, string> {
  const { schemes = [], credentials } = authentication ?? {};
  const scheme =
    format === 'a2a' ? schemes[0] : schemes.find((one) => one.toLowerCase() === 'bearer') && 'Bearer';
  return credentials && scheme ? { authorization: `${scheme} ${credentials}` } : {};
}
