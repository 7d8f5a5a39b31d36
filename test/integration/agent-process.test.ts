// `fame agent` as a process with a real sentinel: the agents that it serves, how it ends, and its exit codes.
import { join } from 'node:path';
import { Link, type TaskEvent } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fameArgs, freePort, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let client: Link;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  client = new Link({ url: sentinel.url, dial: wsDial });
  await client.connect();
});
afterAll(() => client.close());

const agent = (names: readonly string[], env: Record<string, string> = {}): Proc =>
  startNode(fameArgs('agent', ...names), {
    name: `agent ${names.join(' ')}`,
    env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: sentinel.dataDir, ...env },
  });

const countDown = (id: string, steps: number, stepMs: number) => ({
  id,
  message: { role: 'user', parts: [{ type: 'data', data: { steps, stepMs } }] },
});

describe('fame agent', () => {
  it('serves the named agents and prints them', async () => {
    const proc = agent(['chat', 'echo', 'math']);
    await proc.waitFor(/math@fame\.fabric is served through ws:/);
    expect(proc.output).toMatch(/chat@fame\.fabric is served through \S+ \(model: offline\)/);
    expect(await client.call('echo@fame.fabric', 'echo', { args: ['hi'] })).toBe('hi');
    expect(await client.call({ capabilities: ['fame.capability.math'] }, 'add', { x: 2, y: 3 })).toBe(5);
    expect(await client.call('chat@fame.fabric', 'describe')).toMatchObject({ model: 'offline' });
    await expect(client.call('math@fame.fabric', 'multiplx')).rejects.toMatchObject({
      code: 'METHOD_NOT_FOUND',
      message: expect.stringContaining('did you mean multiply?'),
    });
    expect(await proc.stop()).toEqual({ code: 0, signal: null });
  });

  it('on SIGTERM refuses new calls, lets the running ones finish, and exits with 0', async () => {
    const proc = agent(['math']);
    await proc.waitFor(/is served/);
    const events: TaskEvent[] = [];
    for await (const event of client.stream(
      'math@fame.fabric',
      'tasks/sendSubscribe',
      countDown('d1', 6, 100),
    )) {
      events.push(event as TaskEvent);
      if (events.length !== 2) continue;
      proc.child.kill('SIGTERM');
      await proc.waitFor(/Stopping: running calls have 10 s to finish/);
      await expect(client.call('math@fame.fabric', 'add', { x: 1, y: 1 })).rejects.toMatchObject({
        code: expect.stringMatching(/^(NO_ROUTE|LINK_DRAINING)$/),
        retryable: true,
      });
    }
    expect(events.length).toBe(8);
    expect(events.at(-1)).toMatchObject({ status: { state: 'completed' }, final: true });
    expect(await proc.exited).toEqual({ code: 0, signal: null });
  });

  it('aborts calls that do not finish within FAME_DRAIN_MS, and notifies their callers', async () => {
    const proc = agent(['math'], { FAME_DRAIN_MS: '200' });
    await proc.waitFor(/is served/);
    const params = countDown('d2', 1_000, 60_000);
    const stream = client.stream('math@fame.fabric', 'tasks/sendSubscribe', params)[Symbol.asyncIterator]();
    await stream.next();
    const next = stream.next();
    proc.child.kill('SIGTERM');
    await expect(next).rejects.toMatchObject({ code: 'NODE_GONE' });
    expect(await proc.exited).toEqual({ code: 0, signal: null });
  });

  it('exits at once on a second signal', async () => {
    const proc = agent(['math'], { FAME_DRAIN_MS: '600000' });
    await proc.waitFor(/is served/);
    await client.call('math@fame.fabric', 'tasks/send', countDown('d3', 1_000, 60_000));
    proc.child.kill('SIGTERM');
    await proc.waitFor(/Stopping/);
    proc.child.kill('SIGTERM');
    expect((await proc.exited).code).toBe(143);
  });

  it('exits at a signal while it waits for a sentinel', async () => {
    const proc = agent(['echo'], { FAME_DIRECT_ADMISSION_URL: `ws://127.0.0.1:${await freePort()}/x` });
    await proc.waitFor(/waiting for the sentinel/);
    expect(await proc.stop('SIGINT')).toEqual({ code: 0, signal: null });
  });

  it.each([
    ['an unknown name', ['maht'], {}, 2, /Unknown agent "maht"\. Did you mean math\?/],
    [
      'a faulty configuration',
      ['echo'],
      { FAME_DRAIN_MS: 'soon', MODEL_NAME: '' },
      2,
      /FAME_DRAIN_MS is "soon"/,
    ],
    [
      'no sentinel',
      ['echo'],
      { FAME_DIRECT_ADMISSION_URL: 'ws://127.0.0.1:1/x', FAME_CONNECT_TIMEOUT_MS: '300' },
      69,
      /No sentinel at .*make start/,
    ],
  ] as const)('exits for %s with its own code', async (_, names, env, code, message) => {
    const proc = agent(names, env);
    expect((await proc.exited).code).toBe(code);
    expect(proc.output).toMatch(message);
    expect(proc.output).not.toContain('    at ');
  });

  it('exits with 1 when the address is taken', async () => {
    const first = agent(['echo']);
    await first.waitFor(/is served/);
    const second = agent(['echo']);
    expect((await second.exited).code).toBe(1);
    expect(second.output).toMatch(/ADDRESS_IN_USE/);
    expect(await client.call('echo@fame.fabric', 'echo', { args: [1] })).toBe(1);
    await first.stop();
  });
});

it('the example agent of the README runs', async () => {
  const proc = startNode(['--conditions=fame-source', join(ROOT, 'agents/examples/weather-agent.ts')], {
    env: { FAME_DIRECT_ADMISSION_URL: sentinel.url },
  });
  await proc.waitFor(/weather@fame\.fabric is served through/);
  expect(await client.call('weather@fame.fabric', 'forecast', { city: 'Lima' })).toEqual({
    day: 1,
    city: 'Lima',
    sky: 'sun',
  });
  expect(await proc.stop()).toEqual({ code: 0, signal: null });
});
