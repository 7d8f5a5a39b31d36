// Push notifications of tasks: a plain message to a Fame address, or a POST to an https URL through `safe-fetch.ts`. They are sent
// at most once and in order per task. A task never waits for them.
import {
  FabricError,
  type Logger,
  newId,
  type PushNotificationConfig,
  tryParseAddress,
} from '@fame-fabric/shared';
import { isUnder, KeyedQueue } from '@fame-fabric/shared/internal';
import type { SafeFetch } from '../../net/safe-fetch.ts';
import type { OperationContext, Outbound } from '../operation.ts';

/** Maximum queued notifications of one task. */
const MAX_WAITING = 31;

/** The part of a call that its push address is checked with. */
export type PushContext = Pick<OperationContext, 'caller' | 'callerServes'>;

interface NotifierDeps {
  link: Pick<Outbound, 'send'>;
  safeFetch: SafeFetch;
  /** Addresses of any node that every caller may name. @default none */
  pushAddresses?: readonly string[] | undefined;
  log: Logger;
}

export class Notifier {
  readonly #deps: NotifierDeps;
  /** POSTs, in order within a task and side by side across tasks. */
  readonly #posts = new KeyedQueue({ maxRunning: Number.POSITIVE_INFINITY, maxWaitingPerKey: MAX_WAITING });

  constructor(deps: NotifierDeps) {
    this.#deps = deps;
  }

  /**
   * Checks that notifications may go to the URL: an https URL, or an address of the caller. Otherwise any caller could send messages to
   * any node in the name of the agent.
   * @throws {PARAMS_INVALID} if the URL is no Fame address @throws {AUTH_FORBIDDEN} if the address is not one of the caller
   * @throws {OUTBOUND_FORBIDDEN} by `SafeFetch.check`
   */
  async check({ url }: PushNotificationConfig, context: PushContext): Promise<void> {
    if (isHttp(url)) {
      this.#deps.safeFetch.check(url);
      return;
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
    if (!isHttp(config.url)) {
      this.#sendMessage(config.url, taskId, notification);
      return;
    }
    // Serialize now, because the task may change before the notification is sent.
    const body = JSON.stringify(notification);
    const outcome = this.#posts.add({ key: taskId, run: () => this.#post(config, body, taskId) });
    if (outcome === 'key-full') {
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

  async #post(config: PushNotificationConfig, body: string, taskId: string): Promise<void> {
    const { host } = new URL(config.url);
    try {
      const { status } = await this.#deps.safeFetch(config.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-fame-notification-id': newId(),
          ...(config.token ? { 'x-a2a-notification-token': config.token } : {}),
          ...authorization(config),
        },
        body,
      });
      if (status >= 300) this.#deps.log.warn('push notification refused', { taskId, host, status });
    } catch (error) {
      this.#deps.log.warn('push notification not sent', { taskId, host, error });
    }
  }
}

const isHttp = (url: string): boolean => /^https?:/i.test(url.trim());

function authorization({ authentication }: PushNotificationConfig): Record<string, string> {
  const credentials = authentication?.credentials;
  const isBearer = authentication?.schemes.some((scheme) => scheme.toLowerCase() === 'bearer');
  return credentials && isBearer ? { authorization: `Bearer ${credentials}` } : {};
}
