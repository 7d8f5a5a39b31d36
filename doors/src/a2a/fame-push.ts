// Push notifications of agents with task methods. The agent keeps the configurations and sends the notifications, so they survive the
// door.
import { isFabricError, newId, type PushNotificationConfig } from '@fame-fabric/shared';
import { taskNotFound } from './errors.ts';
import type { TaskPushNotificationConfig } from './sdk.ts';
import type { PushConfigs, TaskSourceDeps } from './task-source.ts';

/** Converts a configuration of a client. Without an id it gets a new one. */
export const famePushOf = ({
  id,
  url,
  token,
  authentication,
}: TaskPushNotificationConfig): PushNotificationConfig => ({
  id: id === '' ? newId() : id,
  url,
  format: 'a2a',
  ...(token === '' ? {} : { token }),
  ...(authentication
    ? { authentication: { schemes: [authentication.scheme], credentials: authentication.credentials } }
    : {}),
});

function configOf(
  taskId: string,
  { id, url, token, authentication }: PushNotificationConfig,
): TaskPushNotificationConfig {
  const scheme = authentication?.schemes[0];
  return {
    tenant: '',
    id: id ?? '',
    taskId,
    url,
    token: token ?? '',
    authentication:
      scheme === undefined ? undefined : { scheme, credentials: authentication?.credentials ?? '' },
  };
}

export class FamePush implements PushConfigs {
  readonly #deps: TaskSourceDeps;

  constructor(deps: TaskSourceDeps) {
    this.#deps = deps;
  }

  async create(config: TaskPushNotificationConfig): Promise<TaskPushNotificationConfig> {
    const pushNotificationConfig = famePushOf(config);
    await this.#call('set', config.taskId, { pushNotificationConfig });
    return configOf(config.taskId, pushNotificationConfig);
  }

  async list(taskId: string): Promise<TaskPushNotificationConfig[]> {
    const answer = await this.#call('list', taskId, {});
    const { pushNotificationConfigs = [] } = answer as { pushNotificationConfigs?: PushNotificationConfig[] };
    return pushNotificationConfigs.map((config) => configOf(taskId, config));
  }

  async delete(taskId: string, configId: string): Promise<void> {
    await this.#call('delete', taskId, { configId });
  }

  async #call(verb: 'set' | 'list' | 'delete', id: string, fields: object): Promise<unknown> {
    const { client, agent, signal } = this.#deps;
    try {
      return await client.call(
        agent.address,
        `tasks/pushNotification/${verb}`,
        { id, ...fields },
        { signal },
      );
    } catch (error) {
      if (isFabricError(error, 'TASK_UNKNOWN')) throw taskNotFound(id);
      throw error;
    }
  }
}
