// The WebSocket transport of the Responses API. The cases of the Open Responses suite have their ids as names.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { gate } from '@fame-fabric/agents/testing';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { type DoorKit, type DoorKitOptions, doorKit } from '../../testing/door-kit.ts';
import { get, send, textOf } from '../../testing/responses-client.ts';
import { connectSocket } from '../../testing/socket-client.ts';
import { openAiDoor } from '../openai-door.ts';

const open = (options: DoorKitOptions = {}) => doorKit(openAiDoor, { replies: [], ...options });
const create = (body: object) => ({ type: 'response.create', model: 'chat', ...body });
const ADA = { authorization: 'Bearer fk_ada' };
const responseOf = (events: { response?: { id: string } }[]) => events.at(-1)!.response!;
const codeOf = (events: { error?: { code: string } }[]) => events.at(-1)!.error?.code;

/** Sends an upgrade on a connection whose client reads the first answer only. */
function upgraded(kit: DoorKit, headers: Record<string, string> = {}) {
  let written = '';
  const socket = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      const isFirst = written === '';
      written ||= String(chunk);
      if (isFirst) done();
    },
  });
  const upgrade = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
  };
  const request = {
    method: 'GET',
    url: '/v1/responses',
    headers: { host: 'localhost', ...upgrade, ...headers },
    socket,
  };
  kit.upgrade(request as unknown as IncomingMessage, socket, Buffer.alloc(0));
  return { socket, written: () => written };
}

describe('Open Responses', () => {
  test('websocket-response', async () => {
    await using kit = await open({ replies: ['1, 2, 3'] });
    await using client = await connectSocket(kit);
    const events = await client.send(create({ input: 'Count to 3.' }));
    expect(events[0]).toMatchObject({ type: 'response.created' });
    expect(responseOf(events)).toMatchObject({ status: 'completed' });
    const stored = await get(kit, `/v1/responses/${responseOf(events).id}`);
    expect(textOf(stored.body)).toBe('1, 2, 3');
  });

  test('websocket-sequential-responses', async () => {
    await using kit = await open({ replies: ['first', 'second'] });
    await using client = await connectSocket(kit);
    for (const text of ['first', 'second']) {
      const events = await client.send(create({ input: text, store: false }));
      expect(textOf(responseOf(events))).toBe(text);
    }
  });

  test('websocket-continuation', async () => {
    await using kit = await open({ replies: ['OK', 'cobalt'] });
    await using client = await connectSocket(kit);
    const first = responseOf(await client.send(create({ input: 'The word is cobalt.', store: false })));
    const second = { input: 'Which word?', store: false, previous_response_id: first.id };
    expect(textOf(responseOf(await client.send(create(second))))).toBe('cobalt');
    const texts = kit.model.requests[1]!.messages.map(({ content }) => content);
    expect(texts.slice(1)).toEqual(['The word is cobalt.', 'OK', 'Which word?']);
  });

  test('websocket-reconnect-store-false-recovery', async () => {
    await using kit = await open({ replies: ['OK', 'recovered'] });
    await using first = await connectSocket(kit);
    const { id } = responseOf(await first.send(create({ input: 'a', store: false })));
    await using second = await connectSocket(kit);
    const lost = create({ input: 'b', store: false, previous_response_id: id });
    expect(codeOf(await second.send(lost))).toBe('previous_response_not_found');
    const input = [{ type: 'message', role: 'user', content: 'c' }];
    expect(textOf(responseOf(await second.send(create({ input, store: false }))))).toBe('recovered');
  });

  test('websocket-previous-response-not-found', async () => {
    await using kit = await open();
    await using client = await connectSocket(kit);
    const events = await client.send(
      create({ input: 'a', store: false, previous_response_id: 'resp_missing' }),
    );
    expect(events).toMatchObject([
      {
        type: 'error',
        status: 400,
        error: { code: 'previous_response_not_found', param: 'previous_response_id' },
      },
    ]);
  });

  test('websocket-failed-continuation-evicts-cache', async () => {
    await using kit = await open({ replies: ['OK', 'no'] });
    await using client = await connectSocket(kit);
    const { id } = responseOf(await client.send(create({ input: 'a', store: false })));
    const next = { store: false, previous_response_id: id };
    const output = { type: 'function_call_output', call_id: 'missing', output: 'x' };
    expect(codeOf(await client.send(create({ ...next, input: [output] })))).toBe('PARAMS_INVALID');
    expect(codeOf(await client.send(create({ ...next, input: 'b' })))).toBe('previous_response_not_found');
  });

  test('websocket-compact-new-chain', async () => {
    await using kit = await open({ replies: ['The word is cobalt.', 'cobalt'] });
    const body = { model: 'chat', input: [{ role: 'user', content: 'The word is cobalt.' }] };
    const compacted = await send(kit, 'POST', '/v1/responses/compact', { body });
    await using client = await connectSocket(kit);
    const input = [...compacted.body.output, { type: 'message', role: 'user', content: 'Which word?' }];
    expect(textOf(responseOf(await client.send(create({ input, store: false }))))).toBe('cobalt');
  });
});

describe('a socket', () => {
  test.each([
    ['not JSON', '{', 'message'],
    ['no object', [], 'message'],
    ['another type', { type: 'response.cancel' }, 'type'],
    ['a response in the background', create({ input: 'a', background: true }), 'background'],
    ['no input', create({}), 'input'],
    [
      'an image',
      create({ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }),
      'input[0].content[0].type',
    ],
  ])('answers %s with an error, and continues', async (_name, message, param) => {
    await using kit = await open({ replies: ['ok'] });
    await using client = await connectSocket(kit);
    expect(await client.send(message)).toMatchObject([{ type: 'error', status: 400, error: { param } }]);
    expect(textOf(responseOf(await client.send(create({ input: 'a' }))))).toBe('ok');
  });

  test('that closes ends its turn, and drops its responses that are not stored', async () => {
    const held = gate();
    await using kit = await open({ replies: ['one', ['tw', held]] });
    await using client = await connectSocket(kit);
    const { id } = responseOf(await client.send(create({ input: 'a', store: false })));
    client.socket.send(JSON.stringify(create({ input: 'b', store: false, previous_response_id: id })));
    await held.reached;
    client.socket.terminate();
    await vi.waitFor(() => expect(kit.model.calls[1]!.state).toBe('aborted'), { timeout: 10_000 });
  });

  test('with too many messages is closed', async () => {
    await using kit = await open({ replies: [['a', gate()]] });
    await using client = await connectSocket(kit);
    for (let i = 0; i < 20; i++) client.socket.send(JSON.stringify(create({ input: 'a' })));
    const [code] = await once(client.socket, 'close');
    expect(code).toBe(1008);
  });

  test('with large messages that wait is closed', async () => {
    await using kit = await open({ replies: [[gate(), 'late']] });
    await using client = await connectSocket(kit);
    const closed = once(client.socket, 'close');
    client.socket.send(JSON.stringify(create({ input: 'a' })));
    for (let i = 0; i < 3; i++) client.socket.send(JSON.stringify(create({ input: 'x'.repeat(1_000_000) })));
    expect((await closed)[0]).toBe(1008);
  });

  test('too many of one principal are refused', async () => {
    await using kit = await open();
    const sockets = Array.from({ length: 257 }, () => upgraded(kit, ADA));
    const isAnswered = (): boolean => sockets.every(({ written }) => written() !== '');
    await vi.waitFor(() => expect(isAnswered()).toBe(true));
    const answers = sockets.map(({ written }) => written().split(' ')[1]);
    expect(answers.filter((status) => status !== '101')).toEqual(['429']);
    for (const { socket } of sockets) socket.destroy();
    await settle();
    const { socket, written } = upgraded(kit, ADA);
    await vi.waitFor(() => expect(written()).toContain('101'));
    socket.destroy();
  });

  test('with a message that is too large is closed', async () => {
    await using kit = await open();
    await using client = await connectSocket(kit);
    client.socket.send('x'.repeat(1_100_000));
    const [code] = await once(client.socket, 'close');
    expect(code).toBe(1009);
  });

  test('is refused like a request', async () => {
    await using kit = await open({ isCredentialNeeded: true });
    await expect(connectSocket(kit)).rejects.toThrow('401');
    await expect(connectSocket(kit, { headers: { ...ADA, origin: 'https://evil.example' } })).rejects.toThrow(
      '403',
    );
    await expect(connectSocket(kit, { path: '/v1/models', headers: ADA })).rejects.toThrow('404');
    await using client = await connectSocket(kit, { headers: ADA });
    expect(client.socket.readyState).toBe(client.socket.OPEN);
  });

  test('finds no response of another principal', async () => {
    await using kit = await open({ replies: ['one'] });
    const body = { model: 'chat', input: 'a' };
    const { id } = (await send(kit, 'POST', '/v1/responses', { body, headers: ADA })).body;
    await using client = await connectSocket(kit, { headers: { authorization: 'Bearer fk_bea' } });
    const events = await client.send(create({ input: 'b', previous_response_id: id }));
    expect(codeOf(events)).toBe('previous_response_not_found');
  });
});
