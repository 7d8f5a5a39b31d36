// The client of @a2a-js/sdk, unmodified, against the A2A door over HTTP: versions 1.0 and 0.3, both bindings.
import { join } from 'node:path';
import { Role, type Task, TaskState } from '@a2a-js/sdk';
import {
  type Client,
  ClientFactory,
  ClientFactoryOptions,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';
import { TaskNotCancelableError, TaskNotFoundError } from '@a2a-js/sdk/errors';
import { gate } from '@fame-fabric/agents/testing';
import { afterAll, describe, expect, test } from 'vitest';
import { installOnce } from '../kit/install-packages.ts';
import { ROOT } from '../kit/processes.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { startAgent, startModel, stopStack } from '../kit/stack.ts';
import { type DoorsFabric, doorsFabric } from './fabric.ts';

type Sent = Parameters<Client['sendMessage']>[0];
type Update = Awaited<ReturnType<ReturnType<Client['sendMessageStream']>['next']>>['value'];

afterAll(stopStack);

const FOLDER = join(ROOT, 'test/doors');
const LEGACY = 'a2a-sdk-0.3';
const BINDINGS = ['JSONRPC', 'HTTP+JSON'] as const;

const clientOf = ({ url }: Pick<DoorsFabric, 'url'>, binding: (typeof BINDINGS)[number]): Promise<Client> => {
  const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
    transports: [new JsonRpcTransportFactory(), new RestTransportFactory()],
    preferredTransports: [binding],
  });
  return new ClientFactory(options).createFromUrl(url);
};

const messageOf = (
  text: string,
  fields: { messageId?: string; contextId?: string; taskId?: string } = {},
): Sent => ({
  tenant: '',
  metadata: undefined,
  configuration: undefined,
  message: {
    messageId: crypto.randomUUID(),
    contextId: '',
    taskId: '',
    ...fields,
    role: Role.ROLE_USER,
    parts: [{ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' }],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  },
});

interface LegacyEvent {
  id: string;
  contextId: string;
  kind: string;
}
/** The part of the client of @a2a-js/sdk 0.3 that the test uses. */
interface LegacyClient {
  sendMessage(params: object): Promise<LegacyEvent>;
  sendMessageStream(params: object): AsyncIterable<LegacyEvent>;
  getTask(params: object): Promise<LegacyEvent>;
  cancelTask(params: object): Promise<LegacyEvent>;
}

/** Makes a client of @a2a-js/sdk 0.3. Its types are not those of the library that the repository depends on. */
async function legacyClient(url: string): Promise<LegacyClient> {
  installOnce(FOLDER, LEGACY);
  const module = (await import(join(FOLDER, 'node_modules', LEGACY, 'dist/client/index.js'))) as {
    ClientFactory: new () => { createFromUrl(url: string, path: string): Promise<LegacyClient> };
  };
  return new module.ClientFactory().createFromUrl(url, '/.well-known/agent.json');
}

const textOf = (task: Task): string =>
  task.artifacts
    .flatMap(({ parts }) => parts)
    .map(({ content }) => (content?.$case === 'text' ? content.value : ''))
    .join('');

const taskOf = async (client: Client, message: Sent): Promise<Task> => {
  const result = await client.sendMessage(message);
  if (!('status' in result)) throw new Error('The agent answered with a message');
  return result;
};

/** The text that a client has after these updates, and the states that it saw. */
function seen(updates: readonly Update[]): { text: string; states: (TaskState | undefined)[] } {
  let text = '';
  const states: (TaskState | undefined)[] = [];
  for (const update of updates) {
    const payload = update?.payload;
    if (payload?.$case === 'task') {
      text = textOf(payload.value);
      states.push(payload.value.status?.state);
    } else if (payload?.$case === 'artifactUpdate') {
      const part = payload.value.artifact?.parts[0]?.content;
      const piece = part?.$case === 'text' ? part.value : '';
      text = payload.value.append ? text + piece : piece;
    } else if (payload?.$case === 'statusUpdate') states.push(payload.value.status?.state);
  }
  return { text, states };
}

async function collect(stream: AsyncIterable<Update>): Promise<Update[]> {
  const updates: Update[] = [];
  for await (const update of stream) updates.push(update);
  return updates;
}

describe.each(BINDINGS)('%s', (binding) => {
  test('sends, streams, continues a context, gets and lists', async () => {
    await using fabric = await doorsFabric({ replies: ['Hello there', 'Again', 'Third'] });
    const client = await clientOf(fabric, binding);
    const task = await taskOf(client, messageOf('Hi'));
    expect([task.status?.state, textOf(task)]).toEqual([TaskState.TASK_STATE_COMPLETED, 'Hello there']);
    const { contextId, id } = task;
    const { text, states } = seen(await collect(client.sendMessageStream(messageOf('More', { contextId }))));
    expect([text, states.at(-1)]).toEqual(['Again', TaskState.TASK_STATE_COMPLETED]);
    const got = await client.getTask({ tenant: '', id });
    expect(textOf(got)).toBe('Hello there');
    const page = await client.listTasks({
      tenant: '',
      contextId,
      status: TaskState.TASK_STATE_UNSPECIFIED,
      pageToken: '',
      statusTimestampAfter: undefined,
      includeArtifacts: true,
    });
    expect(page.tasks.map(textOf)).toEqual(['Again', 'Hello there']);
  });

  test('a message that is sent again runs one turn', async () => {
    await using fabric = await doorsFabric({ replies: ['Once'] });
    const client = await clientOf(fabric, binding);
    const message = messageOf('Hi');
    const tasks = await Promise.all([taskOf(client, message), taskOf(client, message)]);
    expect((await taskOf(client, message)).id).toBe(tasks[0]!.id);
    expect(tasks[1]!.id).toBe(tasks[0]!.id);
    expect(fabric.model.requests).toHaveLength(1);
  });

  test('a stream that breaks is continued with a subscription', async () => {
    const hold = gate();
    await using fabric = await doorsFabric({ replies: [{ steps: ['Hello', hold, ' there'] }] });
    const client = await clientOf(fabric, binding);
    const abort = new AbortController();
    let id = '';
    await expect(
      (async () => {
        for await (const { payload } of client.sendMessageStream(messageOf('Hi'), { signal: abort.signal })) {
          if (payload?.$case === 'task') id = payload.value.id;
          if (payload?.$case === 'artifactUpdate') abort.abort();
        }
      })(),
    ).rejects.toThrow();
    const stream = client.resubscribeTask({ tenant: '', id });
    const first = (await stream.next()).value as Update;
    hold.open();
    const { text, states } = seen([first, ...(await collect(stream))]);
    expect([text, states.at(-1)]).toEqual(['Hello there', TaskState.TASK_STATE_COMPLETED]);
  });

  test('cancels a task, and gets the errors of the protocol', async () => {
    await using fabric = await doorsFabric({ replies: [{ steps: ['Hel', gate()] }] });
    const client = await clientOf(fabric, binding);
    const stream = client.sendMessageStream(messageOf('Hi'));
    const first = (await stream.next()).value as Update;
    const id = first?.payload?.$case === 'task' ? first.payload.value.id : '';
    const canceled = await client.cancelTask({ tenant: '', id, metadata: undefined });
    expect(canceled.status?.state).toBe(TaskState.TASK_STATE_CANCELED);
    expect(seen(await collect(stream)).states.at(-1)).toBe(TaskState.TASK_STATE_CANCELED);
    await expect(client.cancelTask({ tenant: '', id, metadata: undefined })).rejects.toBeInstanceOf(
      TaskNotCancelableError,
    );
    await expect(client.getTask({ tenant: '', id: 'nope' })).rejects.toBeInstanceOf(TaskNotFoundError);
  });
});

test('the client of version 0.3', async () => {
  const hold = gate();
  await using fabric = await doorsFabric({ replies: ['Hello there', { steps: ['One', hold, ' two'] }] });
  const client = await legacyClient(fabric.url);
  const sent = (text: string, fields: object = {}) => ({
    message: {
      kind: 'message',
      messageId: crypto.randomUUID(),
      role: 'user',
      parts: [{ kind: 'text', text }],
      ...fields,
    },
  });
  const task = await client.sendMessage(sent('Hi'));
  expect(task).toMatchObject({
    kind: 'task',
    status: { state: 'completed' },
    artifacts: [{ parts: [{ kind: 'text', text: 'Hello there' }] }],
  });
  const events: LegacyEvent[] = [];
  for await (const event of client.sendMessageStream(sent('More', { contextId: task.contextId }))) {
    events.push(event);
    hold.open();
  }
  expect(events[0]).toMatchObject({ kind: 'task', status: { state: 'working' } });
  expect(events.at(-1)).toMatchObject({ kind: 'status-update', status: { state: 'completed' }, final: true });
  expect(await client.getTask({ id: task.id })).toMatchObject({ id: task.id });
  await expect(client.getTask({ id: 'nope' })).rejects.toThrow();
  await expect(client.cancelTask({ id: task.id })).rejects.toThrow();
});

test('version 0.3 with the compatibility of the client', async () => {
  const hold = gate();
  await using fabric = await doorsFabric({ replies: ['Hello there', { steps: ['One', hold, ' two'] }] });
  const legacyCompat = { enabled: true };
  const cardResolver = new DefaultAgentCardResolver({ legacyCompat, path: '/.well-known/agent.json' });
  const transports = [new JsonRpcTransportFactory({ legacyCompat })];
  const client = await new ClientFactory({ transports, cardResolver }).createFromUrl(fabric.url);
  expect(client.protocolVersion).toBe('0.3');
  const task = await taskOf(client, messageOf('Hi'));
  expect([task.status?.state, textOf(task)]).toEqual([TaskState.TASK_STATE_COMPLETED, 'Hello there']);
  const stream = client.sendMessageStream(messageOf('More', { contextId: task.contextId }));
  const first = (await stream.next()).value as Update;
  hold.open();
  const { text, states } = seen([first, ...(await collect(stream))]);
  expect(states).toEqual([TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED]);
  expect(text).toBe('One two');
  expect(textOf(await client.getTask({ tenant: '', id: task.id }))).toBe('Hello there');
  await expect(client.getTask({ tenant: '', id: 'nope' })).rejects.toBeInstanceOf(TaskNotFoundError);
});

test('a subscription continues after the agent was killed, and the answer is whole', async () => {
  const sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '200' } });
  const held = gate();
  const model = await startModel({ replies: [{ steps: ['Hello wrong', held] }, 'Hello right'] });
  const options = {
    model,
    env: { FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token'), FAME_DATA_DIR: temporaryDirectory() },
  };
  const agent = await startAgent(sentinel.url, options);
  const client = await clientOf({ url: sentinel.http }, 'JSONRPC');
  const first = client.sendMessageStream(messageOf('Hi'));
  const updates: Update[] = [(await first.next()).value as Update];
  const task = updates[0]?.payload?.$case === 'task' ? updates[0].payload.value : undefined;
  const subscription = client.resubscribeTask({ tenant: '', id: task!.id });
  const subscribed: Update[] = [(await subscription.next()).value as Update];
  updates.push((await first.next()).value as Update);
  expect(seen(updates).text).toBe('Hello wrong');
  await agent.kill();
  await startAgent(sentinel.url, options);
  for (const [stream, list] of [
    [first, updates],
    [subscription, subscribed],
  ] as const) {
    list.push(...(await collect(stream)));
    const { text, states } = seen(list);
    expect([text, states.at(-1)]).toEqual(['Hello right', TaskState.TASK_STATE_COMPLETED]);
  }
  expect(textOf(await client.getTask({ tenant: '', id: task!.id }))).toBe('Hello right');
});
