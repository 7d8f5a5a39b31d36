// Push notifications of tasks. To a Fame address they go as a plain message, to an https URL through `safe-fetch.ts`.
// They are sent at most once and in order per destination; a task never waits for them.
import {
  FabricError,
  type Logger,
  newId,
  type PushNotificationConfig,
  tryParseAddress,
} from '@fame-fabric/shared';
import type { SafeFetch } from '../../net/safe-fetch.ts';
import type { Outbound } from '../operation.ts';

const MAX_WAITING = 32;

export interface NotifierDeps {
  link: Pick<Outbound, 'send'>;
  safeFetch: SafeFetch;
  log: Logger;
}

export class Notifier {
  readonly #deps: NotifierDeps;
  // Deliveries that wait or run, by configuration: the last one of each line.
  readonly #lines = new Map<PushNotificationConfig, { waiting: number; last: Promise<void> }>();

  constructor(deps: NotifierDeps) {
    this.#deps = deps;
  }

  /** @throws {PARAMS_INVALID} when the URL is no logical Fame address. @throws {OUTBOUND_FORBIDDEN} by `SafeFetch.check` */
  check({ url }: PushNotificationConfig): void {
    if (isHttp(url)) {
      this.#deps.safeFetch.check(url);
      return;
    }
    const address = tryParseAddress(url);
    // Reply mailboxes and system inboxes are not receivers: a notification there could pass for something else.
    if (!address?.host || address.participant.startsWith('__')) {
      throw new FabricError(
        'PARAMS_INVALID',
        'pushNotificationConfig.url: expected a Fame address, such as receiver@fame.fabric, or an https URL',
      );
    }
  }

  /** Sends `payload` after the ones before it. Failures are logged: nobody waits for the outcome. */
  notify(config: PushNotificationConfig, payload: Record<string, unknown>): void {
    if (!isHttp(config.url)) {
      this.#sendMessage(config.url, payload);
      return;
    }
    const line = this.#lines.get(config) ?? { waiting: 0, last: Promise.resolve() };
    if (line.waiting >= MAX_WAITING) {
      this.#deps.log.warn('push notification dropped: too many wait', { taskId: payload.task_id });
      return;
    }
    line.waiting++;
    this.#lines.set(config, line);
    // The body is written now: what the task changes later is told later.
    const body = JSON.stringify(payload);
    line.last = line.last
      .then(() => this.#post(config, body, payload.task_id))
      .finally(() => {
        if (--line.waiting === 0) this.#lines.delete(config);
      });
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#lines.values()].map(({ last }) => last));
  }

  #sendMessage(address: string, payload: Record<string, unknown>): void {
    try {
      this.#deps.link.send(address, payload);
    } catch (error) {
      this.#deps.log.warn('push notification not sent', { taskId: payload.task_id, to: address, error });
    }
  }

  async #post(config: PushNotificationConfig, body: string, taskId: unknown): Promise<void> {
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
