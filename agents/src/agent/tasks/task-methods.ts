// The task methods of the Fame protocol, as operations on the task table. Their parameters tolerate nulls and absent fields. They
// are immediate, so exempt from the limit on concurrent calls, because a subscription may last for hours.
import {
  type AgentCard,
  FabricError,
  type PushNotificationConfig,
  type TaskSendParams,
} from '@fame-fabric/shared';
import { z } from 'zod';
import { identifiedCaller } from '../identified-caller.ts';
import { type Operation, operation } from '../operation.ts';
import type { TaskTable } from './task-table.ts';

const metadata = z.record(z.string(), z.unknown()).nullish();

const part = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string(), metadata }),
  z.looseObject({ type: z.literal('data'), data: z.record(z.string(), z.unknown()), metadata }),
  z.looseObject({
    type: z.literal('file'),
    file: z.looseObject({
      name: z.string().nullish(),
      mimeType: z.string().nullish(),
      bytes: z.string().nullish(),
      uri: z.string().nullish(),
    }),
    metadata,
  }),
]);

// Fame clients send the user's own text with role "agent", so the role carries no information here.
const message = z.looseObject({
  role: z.enum(['user', 'agent']),
  parts: z.array(part).max(100),
  metadata,
});

const taskId = z.string().min(1).max(256);

const pushNotificationConfig = z.looseObject({
  url: z.string().min(1).max(2_048),
  token: z.string().max(1_024).nullish(),
  authentication: z
    .looseObject({
      schemes: z.array(z.string().max(64)).max(8),
      credentials: z.string().max(4_096).nullish(),
    })
    .nullish(),
  id: z.string().min(1).max(256).nullish(),
  format: z.literal('a2a').nullish(),
});

/** Parameters of `tasks/send` and `tasks/sendSubscribe`, for agents that serve these methods themselves. */
export const taskSendParams = z.looseObject({
  id: taskId,
  message,
  sessionId: z.string().max(256).nullish(),
  acceptedOutputModes: z.array(z.string()).max(32).nullish(),
  pushNotification: pushNotificationConfig.nullish(),
  historyLength: z.int().min(0).nullish(),
  metadata,
});

/** Parameters of the methods that name a task, such as `tasks/get` and `tasks/cancel`. */
export const taskQueryParams = z.looseObject({
  id: taskId,
  historyLength: z.int().min(0).nullish(),
  metadata,
});

const pushSetParams = z.looseObject({ id: taskId, pushNotificationConfig });
const pushDeleteParams = z.looseObject({ id: taskId, configId: z.string().max(256).nullish() });
const listParams = z.looseObject({ sessionId: z.string().max(256).nullish() });

/** Makes the task methods and `agent.get_card`. Without a table, the task methods fail with OPERATION_UNSUPPORTED. */
export function taskMethods(card: AgentCard, table: TaskTable | undefined): Record<string, Operation> {
  const tasks = (): TaskTable => {
    if (table) return table;
    throw new FabricError('OPERATION_UNSUPPORTED', `${card.url} does not support tasks`);
  };
  const immediate = true;
  return {
    'agent.get_card': operation({ immediate, params: z.looseObject({}), run: () => card }),
    'tasks/send': operation({
      immediate,
      // The agent's own `accept` may wait.
      mayTakeLong: true,
      params: taskSendParams,
      run: (params, context) => tasks().send(params as TaskSendParams, context),
    }),
    'tasks/sendSubscribe': operation({
      immediate,
      params: taskSendParams,
      async *run(params, context) {
        yield* tasks().sendSubscribe(params as TaskSendParams, context);
      },
    }),
    'tasks/resubscribe': operation({
      immediate,
      params: taskQueryParams,
      async *run({ id }, context) {
        yield* tasks().resubscribe(id, context);
      },
    }),
    // Clients send it after every subscription, even when the agent has dropped the task by then.
    'tasks/sendUnsubscribe': operation({
      immediate,
      params: taskQueryParams,
      run: ({ id }, { replyTo }) => table?.unsubscribe(id, replyTo),
    }),
    'tasks/get': operation({
      immediate,
      params: taskQueryParams,
      run: async ({ id, historyLength }, context) =>
        tasks().get(id, await identifiedCaller(context), historyLength),
    }),
    'tasks/list': operation({
      immediate,
      params: listParams,
      run: async ({ sessionId }, context) => ({
        tasks: tasks().list(await identifiedCaller(context), sessionId ?? undefined),
      }),
    }),
    'tasks/cancel': operation({
      immediate,
      params: taskQueryParams,
      run: async ({ id }, context) => tasks().cancel(id, await identifiedCaller(context)),
    }),
    'tasks/pushNotification/set': operation({
      immediate,
      params: pushSetParams,
      async run(params, context) {
        await tasks().setPush(params.id, params.pushNotificationConfig as PushNotificationConfig, context);
        return { id: params.id, pushNotificationConfig: params.pushNotificationConfig };
      },
    }),
    'tasks/pushNotification/get': operation({
      immediate,
      params: taskQueryParams,
      run: async ({ id }, context) => ({
        id,
        pushNotificationConfig: tasks().getPush(id, await identifiedCaller(context)),
      }),
    }),
    'tasks/pushNotification/list': operation({
      immediate,
      params: taskQueryParams,
      run: async ({ id }, context) => ({
        id,
        pushNotificationConfigs: tasks().listPush(id, await identifiedCaller(context)),
      }),
    }),
    'tasks/pushNotification/delete': operation({
      immediate,
      params: pushDeleteParams,
      run: async ({ id, configId }, context) => {
        tasks().deletePush(id, configId ?? '', await identifiedCaller(context));
        return null;
      },
    }),
  };
}
