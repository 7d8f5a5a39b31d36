// Push notifications in the form of A2A, several of them for one task, and the list of tasks.
import { FabricError } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SafeFetch } from '../../net/safe-fetch.ts';
import { type FakeCallOptions, FakeLink } from '../../testing/fake-link.ts';
import { defineAgent } from '../agent.ts';
import type { Serving } from '../agent-types.ts';

const ADDRESS = 'worker@fame.fabric';
const URL = 'https://hooks.example.com/a2a';
const message = { role: 'user', parts: [{ type: 'text', text: 'go' }] };
const ada = { principal: 'ada' };

interface Post {
  url: string;
  headers: Record<string, string>;
  body: unknown;
}

let link: FakeLink;
let serving: Serving;
let clock: ManualClock;
let log: CaptureLog;
let posts: Post[];
/** The outcomes of the next POSTs: a status, or an error. @default 200 */
let outcomes: (number | Error)[];
beforeEach(async () => {
  link = new FakeLink();
  clock = new ManualClock();
  log = new CaptureLog();
  posts = [];
  outcomes = [];
  const fetch = async (url: string, { headers = {}, body = 'null' }: Parameters<SafeFetch>[1] = {}) => {
    posts.push({ url, headers, body: JSON.parse(body) });
    const outcome = outcomes.shift() ?? 200;
    if (outcome instanceof Error) throw outcome;
    return { status: outcome, headers: {}, body: '' };
  };
  const safeFetch: SafeFetch = Object.assign(fetch, { check: () => {} });
  const tasks = {
    start: (_: unknown, task: { ask(question: string): Promise<unknown> }) => task.ask('Well?'),
  };
  serving = await defineAgent({ address: ADDRESS, tasks }).serve(link, { clock, log, safeFetch });
});
afterEach(() => serving.close());

const call = (method: string, params: object, options: FakeCallOptions = ada) =>
  link.start(ADDRESS, method, params, options).done;
const send = (id: string, more: object = {}) => call('tasks/send', { id, message, ...more });
const config = (fields: object = {}) => ({ url: URL, format: 'a2a', ...fields });
const set = (id: string, fields: object = {}) =>
  call('tasks/pushNotification/set', { id, pushNotificationConfig: config(fields) });
const states = () =>
  posts.map(
    ({ body }) => (body as { statusUpdate: { status: { state: string } } }).statusUpdate.status.state,
  );

describe('a notification of A2A', () => {
  test('is the status update, with the media type and the credentials of the configuration', async () => {
    const authentication = { schemes: ['Basic'], credentials: 'YTpi' };
    await send('t', { sessionId: 's', pushNotification: config({ token: 'tok', authentication }) });
    await settle();
    expect(posts).toEqual([
      {
        url: URL,
        headers: {
          'content-type': 'application/a2a+json',
          authorization: 'Basic YTpi',
          'x-a2a-notification-token': 'tok',
          'x-fame-notification-id': expect.any(String),
        },
        body: {
          statusUpdate: {
            taskId: 't',
            contextId: 's',
            status: {
              state: 'TASK_STATE_INPUT_REQUIRED',
              timestamp: expect.stringMatching(/Z$/),
              message: expect.objectContaining({
                role: 'ROLE_AGENT',
                taskId: 't',
                parts: [{ text: 'Well?' }],
              }),
            },
          },
        },
      },
    ]);
  });

  test('is sent for every change of the state, to every configuration', async () => {
    await send('t');
    await set('t', { id: 'one' });
    await set('t', { id: 'two' });
    await send('t');
    await settle();
    expect(states()).toEqual(
      ['WORKING', 'WORKING', 'COMPLETED', 'COMPLETED'].map((state) => `TASK_STATE_${state}`),
    );
  });

  test('is repeated until it is accepted, with the same id', async () => {
    outcomes = [503, new FabricError('OUTBOUND_FAILED', 'The URL could not be fetched'), 429, 200];
    await send('t', { pushNotification: config() });
    await clock.run(60_000, 500);
    expect(posts).toHaveLength(4);
    expect(new Set(posts.map(({ headers }) => headers['x-fame-notification-id'])).size).toBe(1);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test('is dropped after 6 attempts, and at once if it is refused', async () => {
    outcomes = Array.from({ length: 9 }, () => 500);
    await send('t', { pushNotification: config() });
    await clock.run(300_000, 1_000);
    expect(posts).toHaveLength(6);
    outcomes = [410];
    await send('u', { pushNotification: config() });
    await clock.run(300_000, 1_000);
    expect(posts).toHaveLength(7);
    const lines = log.lines.filter(({ level }) => level === 'warn');
    expect(lines.map(({ fields }) => ({ attempt: fields?.attempt, status: fields?.status }))).toEqual([
      { attempt: 6, status: 500 },
      { attempt: 1, status: 410 },
    ]);
    expect(JSON.stringify(lines)).not.toContain('Well?');
  });

  test('goes to https URLs only', async () => {
    await send('t');
    const { error } = await set('t', { url: 'receiver@fame.fabric' });
    expect(error?.data).toMatchObject({ code: 'PARAMS_INVALID' });
  });
});

describe('the configurations of a task', () => {
  const list = async (options: FakeCallOptions = ada) =>
    (await call('tasks/pushNotification/list', { id: 't' }, options)).result;
  const remove = (configId: string) => call('tasks/pushNotification/delete', { id: 't', configId });

  test('are listed and deleted by their id', async () => {
    await send('t');
    await set('t', { id: 'one', token: 'secret' });
    await set('t', { id: 'two' });
    await set('t', { id: 'one', token: 'other' });
    expect(await list()).toEqual({
      id: 't',
      pushNotificationConfigs: [config({ id: 'one', token: 'other' }), config({ id: 'two' })],
    });
    for (const again of [false, true]) expect((await remove('one')).error, String(again)).toBeUndefined();
    expect(await list()).toMatchObject({ pushNotificationConfigs: [{ id: 'two' }] });
  });

  test('show their secrets to the owner only', async () => {
    await send('t', { pushNotification: config({ id: 'one', token: 'secret' }) });
    const operator = { principal: 'operator', rights: { conversations: 'any' } } as const;
    expect(await list(operator)).toMatchObject({ pushNotificationConfigs: [{ id: 'one', url: URL }] });
    expect(JSON.stringify(await list(operator))).not.toContain('secret');
    const { error } = await call('tasks/pushNotification/list', { id: 't' }, { principal: 'eve' });
    expect(error?.data).toMatchObject({ code: 'TASK_UNKNOWN' });
  });

  test('are limited to 8', async () => {
    await send('t');
    for (let n = 0; n < 8; n++) expect((await set('t', { id: `p${n}` })).error).toBeUndefined();
    expect((await set('t', { id: 'p8' })).error?.data).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    expect((await set('t', { id: 'p0' })).error).toBeUndefined();
  });
});

describe('tasks/list', () => {
  const list = async (params: object = {}, options: FakeCallOptions = ada) =>
    (await call('tasks/list', params, options)).result as { tasks: { id: string; state: string }[] };

  test('has the tasks of the caller, the latest state first', async () => {
    for (const id of ['a', 'b', 'c']) {
      await send(id, { sessionId: id === 'b' ? 's' : undefined });
      clock.advance(1_000);
    }
    await call('tasks/send', { id: 'd', message }, { principal: 'eve' });
    await send('a');
    await settle();
    expect((await list()).tasks).toEqual([
      { id: 'a', sessionId: 'a', state: 'completed', timestamp: expect.any(String) },
      { id: 'c', sessionId: 'c', state: 'input-required', timestamp: expect.any(String) },
      { id: 'b', sessionId: 's', state: 'input-required', timestamp: expect.any(String) },
    ]);
    expect((await list({ sessionId: 's' })).tasks.map(({ id }) => id)).toEqual(['b']);
    const operator = { principal: 'operator', rights: { conversations: 'any' } } as const;
    expect((await list({}, operator)).tasks).toEqual([]);
  });

  test('leaves out tasks that are no longer kept', async () => {
    await send('a');
    await send('a');
    await settle();
    clock.advance(300_001);
    expect((await list()).tasks).toEqual([]);
  });
});
