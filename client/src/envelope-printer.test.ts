import { type Envelope, type Frame, makeEnvelope, rpcRequest } from '@fame-fabric/shared';
import { createStyle } from '@fame-fabric/shared/internal';
import { expect, test } from 'vitest';
import { createEnvelopePrinter } from './envelope-printer.ts';

const SECRETS = [
  'my user text',
  'my system prompt',
  'sk-canary',
  'bearer-canary',
  'tool-canary',
  'meta-canary',
];

const request = (): Envelope =>
  makeEnvelope(
    {
      type: 'Data',
      payload: rpcRequest('r1', 'run_turn', {
        args: ['c1', SECRETS[0]],
        kwargs: { system_prompt: SECRETS[1], api_key: SECRETS[2] },
      }),
    },
    {
      to: 'chat@fame.fabric',
      corrId: 'r1',
      rtype: 2,
      meta: { authorization: `Bearer ${SECRETS[3]}`, note: SECRETS[5] },
      sec: { token: SECRETS[3] },
    },
  );

const printed = (envelope: Envelope, mode?: 'line' | 'metadata' | 'full'): string => {
  let text = '';
  const print = createEnvelopePrinter({
    write: (block) => {
      text += block;
    },
    now: () => 0,
    ...(mode ? { mode } : {}),
  });
  print('sent', envelope);
  return text;
};

test('in the mode `line` an envelope is one line without its content', () => {
  expect(printed(request(), 'line')).toMatch(
    /^00:00:00\.000 → Data request run_turn to chat@fame\.fabric corr=r1 \d+ B\n$/,
  );
  const hostile = makeEnvelope(
    { type: 'Data', payload: 'x' },
    { to: 'a\u001b[2J\nb', corrId: 'y'.repeat(500) },
  );
  const line = printed(hostile, 'line');
  expect(line.length).toBeLessThan(200);
  expect(line.trimEnd()).not.toMatch(/[\u0000-\u001f]/);
});

test('a block has the time, direction, label, and metadata as JSON', () => {
  const text = printed(request());
  const [empty, head, ...rest] = text.split('\n');
  expect(empty).toBe('');
  expect(head).toBe('1970-01-01T00:00:00.000Z - Sent envelope → Data request run_turn to chat@fame.fabric');
  const body = JSON.parse(rest.join('\n'));
  expect(body).toMatchObject({ to: 'chat@fame.fabric', corrId: 'r1', rtype: 2 });
  expect(body.frame.payload).toMatchObject({
    method: 'run_turn',
    params: expect.stringMatching(/^<\d+ bytes>$/),
  });
});

test.each([
  ['a request', request()],
  ['a reply', makeEnvelope({ type: 'Data', payload: { jsonrpc: '2.0', id: 1, result: SECRETS[0] } })],
  [
    'an error',
    makeEnvelope({
      type: 'Data',
      payload: {
        jsonrpc: '2.0',
        id: 1,
        error: {
          code: -32000,
          message: SECRETS[2],
          data: { code: 'MODEL_AUTH', details: { tool: SECRETS[4] } },
        },
      },
    }),
  ],
  ['a plain message', makeEnvelope({ type: 'Data', payload: { text: SECRETS[0], key: SECRETS[2] } })],
  ['plain text', makeEnvelope({ type: 'Data', payload: SECRETS[0] })],
  ['an opaque frame', makeEnvelope({ type: 'SecureOpen', body: SECRETS[0] })],
])('metadata of %s contains no user text and no secret', (_what, envelope) => {
  const text = printed(envelope as Envelope);
  for (const secret of SECRETS) expect(text).not.toContain(secret);
});

test('the code of an error is printed, its message is not', () => {
  const data = { code: 'MODEL_AUTH' };
  const payload = { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'secret', data } };
  const text = printed(makeEnvelope({ type: 'Data', payload }));
  expect(text).toContain('MODEL_AUTH');
  expect(text).not.toContain('secret');
});

test('full prints the whole envelope', () => {
  for (const secret of [0, 1, 2]) expect(printed(request(), 'full')).toContain(SECRETS[secret]);
});

test('control characters of a peer are escaped, and colours are off by default', () => {
  const envelope = makeEnvelope(
    { type: 'Data', payload: rpcRequest(1, '\u001b[2Jx', {}) },
    { to: 'a\u009b@b' },
  );
  expect(printed(envelope)).not.toMatch(/[\u001b\u009b]/);
  let text = '';
  const write = (block: string): void => {
    text += block;
  };
  createEnvelopePrinter({ write, style: createStyle(true) })('received', request());
  expect(text).toContain('\u001b[34m');
});

test('HD29: unknown fields are not printed, known ones are cut, in both directions', () => {
  const long = 'x'.repeat(5_000);
  const hostile = {
    ...makeEnvelope(
      {
        type: 'KeyRequest',
        [long]: 1,
        body: SECRETS[0],
        reason: long,
        address: { deep: SECRETS[1] },
      } as unknown as Frame,
      { to: long, corrId: 'c', capabilities: Array.from({ length: 32 }, () => long) },
    ),
    note: SECRETS[2],
    [SECRETS[3]!]: 1,
    [long]: long,
    traceId: { text: SECRETS[4] },
  } as unknown as Envelope;
  const text = printed(hostile);
  for (const secret of SECRETS) expect(text).not.toContain(secret);
  expect(text).toContain('"corrId": "c"');
  expect(text).toContain('"otherFields": "<');
  expect(text.length).toBeLessThan(4_000);
  const rpc = { jsonrpc: '2.0', id: { text: SECRETS[0] }, method: long };
  const call = printed(makeEnvelope({ type: 'Data', payload: rpc, codec: long }));
  expect(call).not.toContain(SECRETS[0]);
  expect(call.length).toBeLessThan(2_000);
  expect(printed(hostile, 'full').length).toBeGreaterThan(100_000);
});
