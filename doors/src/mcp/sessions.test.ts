import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Session, Sessions } from './sessions.ts';
import { silentServer } from './testing/silent-server.ts';

const HOUR_MS = 3_600_000;

let clock: ManualClock;
let sessions: Sessions;
beforeEach(() => {
  clock = new ManualClock();
  sessions = new Sessions(clock);
});
afterEach(() => sessions.close());

/** Opens a session as a client does. Returns it and the status of a later request with its id. */
async function open(principal: string): Promise<Session> {
  const session = await sessions.open(principal, silentServer());
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  };
  const response = await post(session, { jsonrpc: '2.0', id: 1, method: 'initialize', params });
  expect(response.status).toBe(200);
  return session;
}

const post = ({ transport, id }: Session, parsedBody: unknown): Promise<Response> =>
  transport.handleRequest(
    new Request('http://localhost/mcp', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(id ? { 'mcp-session-id': id } : {}),
      },
    }),
    { parsedBody },
  );

test('a session belongs to its principal', async () => {
  const { id } = await open('ada');
  expect(sessions.find(id!, 'ada')).toBeDefined();
  expect(sessions.find(id!, 'bea')).toBeUndefined();
  expect(sessions.find('other', 'ada')).toBeUndefined();
});

test('a session without use expires, and one with an open stream does not', async () => {
  const idle = await open('ada');
  const used = await open('ada');
  const endUse = sessions.use(used);
  await clock.run(HOUR_MS, 60_000);
  expect(sessions.find(idle.id!, 'ada')).toBeUndefined();
  expect(sessions.find(used.id!, 'ada')).toBe(used);
  endUse();
  await clock.run(HOUR_MS, 60_000);
  expect(sessions.size).toBe(0);
});

test('a principal keeps the 256 sessions that it used last', async () => {
  const first = await open('ada');
  const second = await open('ada');
  const other = await open('bea');
  for (let i = 0; i < 254; i++) await open('ada');
  sessions.use(first)();
  await open('ada');
  expect(sessions.find(first.id!, 'ada')).toBe(first);
  expect(sessions.find(second.id!, 'ada')).toBeUndefined();
  expect(sessions.find(other.id!, 'bea')).toBe(other);
  expect(sessions.size).toBe(257);
});

test('a client can end its session', async () => {
  const session = await open('ada');
  const headers = { 'mcp-session-id': session.id! };
  await session.transport.handleRequest(new Request('http://localhost/mcp', { method: 'DELETE', headers }));
  expect(sessions.find(session.id!, 'ada')).toBeUndefined();
});
