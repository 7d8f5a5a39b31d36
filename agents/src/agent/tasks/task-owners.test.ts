// The owners of background tasks: every method, for each relation of the caller to a task, and the addresses of push notifications.
import { newId } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeCallOptions, FakeLink } from '../../testing/fake-link.ts';
import { defineAgent } from '../agent.ts';
import type { Serving } from '../agent-types.ts';

const ADDRESS = 'worker@fame.fabric';
const ANY = { conversations: 'any' } as const;
const message = { role: 'agent', parts: [{ type: 'text', text: 'go' }] };
const PUSH = {
  url: 'receiver@fame.fabric',
  token: 'secret-token',
  authentication: { schemes: ['bearer'], credentials: 'secret-credentials' },
};

let link: FakeLink;
let serving: Serving;
beforeEach(async () => {
  link = new FakeLink();
  const start = () => new Promise(() => {});
  const tasks = { start, pushAddresses: ['shared@fame.fabric'] };
  serving = await defineAgent({ address: ADDRESS, tasks }).serve(link);
});
afterEach(() => serving.close());

const call = (method: string, params: object, options: FakeCallOptions) =>
  link.start(ADDRESS, method, params, options).done;
const ada = { principal: 'ada' };

/** The answer to a call about a task, without the id of the task. */
async function answerOf(method: string, id: string, options: FakeCallOptions): Promise<unknown> {
  const isStream = method.endsWith('ubscribe');
  const params = { id, message, pushNotificationConfig: PUSH };
  const running = link.start(ADDRESS, method, params, { ...options, isStream });
  await settle();
  running.cancel();
  const { result, error, items } = await running.done;
  return JSON.parse(JSON.stringify({ result, error, items }).replaceAll(id, 'ID'));
}

const METHODS = [
  'tasks/get',
  'tasks/cancel',
  'tasks/resubscribe',
  'tasks/pushNotification/set',
  'tasks/pushNotification/get',
];

describe.each<[string, FakeCallOptions, boolean]>([
  ['the owner', ada, true],
  ['a principal with the right to all', { principal: 'operator', rights: ANY }, true],
  ['another principal', { principal: 'eve' }, false],
  ['a caller without a credential', {}, false],
])('%s', (_, caller, reaches) => {
  test.each(METHODS)('%s', async (method) => {
    await call('tasks/send', { id: 't-1', message, pushNotification: PUSH }, ada);
    const answer = await answerOf(method, 't-1', caller);
    const unknown = await answerOf(method, newId(), caller);
    if (reaches) expect(answer).not.toEqual(unknown);
    else expect(answer).toEqual(unknown);
    expect(unknown).toMatchObject({ error: { data: { code: 'TASK_UNKNOWN' } } });
    const { result } = await call('tasks/get', { id: 't-1' }, ada);
    expect(result).toMatchObject({
      status: { state: reaches && method === 'tasks/cancel' ? 'canceled' : 'working' },
    });
  });
});

test('two owners have tasks with the same id', async () => {
  for (const principal of ['ada', 'eve']) {
    const text = { role: 'agent', parts: [{ type: 'text', text: principal }] };
    expect((await call('tasks/send', { id: 't-1', message: text }, { principal })).error).toBeUndefined();
    const again = await call('tasks/send', { id: 't-1', message: text }, { principal });
    expect(again.error?.data).toMatchObject({ code: 'TASK_EXISTS' });
  }
  for (const principal of ['ada', 'eve']) {
    const { result } = await call('tasks/get', { id: 't-1' }, { principal });
    expect(JSON.stringify(result)).toContain(`"${principal}"`);
  }
});

test('the secrets of a push configuration are shown to the owner only', async () => {
  await call('tasks/send', { id: 't-1', message, pushNotification: PUSH }, ada);
  const get = async (options: FakeCallOptions) =>
    (await call('tasks/pushNotification/get', { id: 't-1' }, options)).result;
  expect(await get(ada)).toEqual({ id: 't-1', pushNotificationConfig: PUSH });
  expect(await get({ principal: 'operator', rights: ANY })).toEqual({
    id: 't-1',
    pushNotificationConfig: { url: PUSH.url },
  });
});

test.each<[string, string, string | undefined]>([
  ['an address that its node serves', 'own@fame.fabric', undefined],
  ['an address below its path', 'inbox@/sentinel/client/below', undefined],
  ['an address that the agent allows', 'shared@fame.fabric', undefined],
  ['an address of another node', 'victim@fame.fabric', 'AUTH_FORBIDDEN'],
  ['an address below another path', 'inbox@/sentinel/client2', 'AUTH_FORBIDDEN'],
  ['an address above its path', 'inbox@/sentinel', 'AUTH_FORBIDDEN'],
  ['its mailbox', '__rpc__test@/sentinel/client', 'PARAMS_INVALID'],
  ['no address', 'nothing', 'PARAMS_INVALID'],
])('a caller may have notifications sent to %s: %s', async (_, url, code) => {
  const caller = { ...ada, serves: ['own@fame.fabric'] };
  const sent = await call('tasks/send', { id: 't-1', message, pushNotification: { url } }, caller);
  expect((sent.error?.data as { code?: string } | undefined)?.code).toBe(code);
  if (code) await call('tasks/send', { id: 't-1', message }, caller);
  const set = await call(
    'tasks/pushNotification/set',
    { id: 't-1', pushNotificationConfig: { url } },
    caller,
  );
  expect((set.error?.data as { code?: string } | undefined)?.code).toBe(code);
});

test('a call whose caller is unknown is refused, so that its link repeats it', async () => {
  const { error, isRefused } = await call('tasks/send', { id: 't-1', message }, { isUnknown: true });
  expect(error?.data).toMatchObject({ code: 'NODE_BUSY', executed: false });
  expect(isRefused).toBe(true);
  expect((await call('tasks/get', { id: 't-1' }, {})).error?.data).toMatchObject({ code: 'TASK_UNKNOWN' });
});
