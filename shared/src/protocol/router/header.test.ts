import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode } from '../codec.ts';
import { makeEnvelope } from '../envelope.ts';
import { Credit, Header, readCredit, readHeader } from './header.ts';

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const call = (extra: object = {}): object =>
  makeEnvelope(
    { type: 'Data', payload: { jsonrpc: '2.0', id: 'c1', method: 'add', params: { x: 1 } } },
    {
      to: 'math@fame.fabric',
      replyTo: '__rpc__a@/S/N',
      corrId: 'c1',
      flowId: 'f1',
      rtype: 2,
      seqId: 3,
      flowFlags: 0,
      ...extra,
    },
  );

test('reads the header of a plain Data envelope', () => {
  const header = new Header();
  const envelope = call() as { id: string };
  expect(readHeader(bytesOf(envelope), header)).toBe(true);
  expect({ ...header, id: header.id, frameAt: 0 }).toEqual({
    id: envelope.id,
    to: 'math@fame.fabric',
    replyTo: '__rpc__a@/S/N',
    corrId: 'c1',
    flowId: 'f1',
    sid: '',
    rtype: 2,
    ttl: -1,
    timeoutMs: 0,
    traceparentAt: 0,
    frameAt: 0,
  });
});

const SEC = { sig: { kid: 'k', val: 'v', alg: 'EdDSA' }, enc: { alg: 'A256GCM', kid: 'k', val: '' } };

test('HD18: ttl, metadata, signatures and digests stay on the fast path, before and behind the frame', () => {
  const header = new Header();
  const meta = { hops: 3, visited: ['/S/a', 'é'], deep: { er: [1] }, 'timeout-ms': 29_500, more: null };
  const payload = { jsonrpc: '2.0', id: 'c1', method: 'add' };
  const { frame: _, ts, ...fields } = call({ ttl: 7, meta, sec: SEC }) as Record<string, unknown>;
  const frame = { type: 'Data', payload, pd: '1Onwe2yOg0dNOM8EPMDvK0' };
  expect(readHeader(bytesOf({ ...fields, frame, ts }), header)).toBe(true);
  expect([header.ttl, header.timeoutMs, header.corrId]).toEqual([7, 29_500, 'c1']);
  const { meta: __, sec, ...others } = fields;
  expect(readHeader(bytesOf({ ...others, frame, ts, sec, meta }), header)).toBe(true);
  expect([header.ttl, header.timeoutMs]).toEqual([7, 29_500]);
  expect(readHeader(bytesOf({ ...others, frame, meta: { a: 1 } }), header)).toBe(true);
  expect(header.timeoutMs).toBe(0);
  // The last of two equal keys wins, as in JSON.parse.
  const twice = JSON.stringify({ ...others, meta: {}, frame }).replace(
    '"meta":{}',
    '"meta":{"timeout-ms":1,"timeout-ms":2}',
  );
  expect(readHeader(Buffer.from(twice), header)).toBe(true);
  expect(header.timeoutMs).toBe(2);
});

test.each([
  '"meta":{"timeout-ms":"5"}',
  '"meta":{"timeout-ms":-5}',
  '"meta":{"timeout-ms":1.5}',
  '"meta":{"timeout-ms": 5}',
  '"meta":{"timeout-ms":1e3}',
  '"meta":{"timeout-ms":1234567890123456}',
  '"meta":7',
  '"meta":null',
  '"meta":{"a":}',
  '"meta":{},"meta":{}',
  `"meta":${'{"a":'.repeat(64)}1${'}'.repeat(64)}`,
  '"sec":"x"',
  '"sec":{',
  '"ttl":-1',
  '"ttl":"7"',
  '"ttl":7,"ttl":0',
])('leaves %s to the codec', (field) => {
  const text = JSON.stringify(call());
  const header = new Header();
  expect(readHeader(Buffer.from(text.replace('"frame"', `${field},"frame"`)), header)).toBe(false);
  if (field.includes('ttl')) return;
  expect(readHeader(Buffer.from(`${text.slice(0, -1)},${field}}`), header)).toBe(false);
});

test('leaves ambiguous messages to the codec', () => {
  const header = new Header();
  const text = JSON.stringify(call());
  const inner = text.slice(1, -1);
  for (const hostile of [
    `{${inner},"replyTo":"__rpc__x@/S/victim"}`,
    `{${inner},"reply\\u0054o":"__rpc__x@/S/victim"}`,
    `{${inner},"frame":{"type":"NodeAttachAck","ok":true}}`,
    text.replace('"payload"', '"type":"NodeAttachAck","payload"'),
    text.replace('"payload"', '"t\\u0079pe":"NodeAttachAck","payload"'),
    text.replace('{"x":1}', `${'['.repeat(63)}1${']'.repeat(63)}`),
    text.replace('"payload"', '"codec":-1,"payload"'),
    text.replace('{"x":1}', '{"x":}'),
    text.replace('{"x":1}', '{"x":bare}'),
    `{"to":"a@b.c",${inner}}`,
    `{"reply_to":"x@/S/victim",${inner}}`,
    ` ${text}`,
    text.slice(0, -2),
    'null',
    '[]',
    '',
  ]) {
    expect(readHeader(Buffer.from(hostile), header), hostile).toBe(false);
  }
});

test('agrees with JSON.parse for any envelope and any mutation of it', () => {
  const header = new Header();
  fc.assert(
    fc.property(
      fc.record({
        a: fc.json(),
        extra: fc.dictionary(fc.string(), fc.jsonValue()),
        meta: fc.dictionary(fc.constantFrom('timeout-ms', 'a', 'b'), fc.jsonValue()),
        ttl: fc.option(fc.nat(), { nil: undefined }),
      }),
      fc.nat(),
      fc.nat(255),
      fc.boolean(),
      ({ a, extra, meta, ttl }, position, byte, mutate) => {
        const frame = { type: 'Data', payload: a };
        const bytes = bytesOf(call({ sid: a.slice(0, 20), ttl, ...extra, meta, frame }));
        if (mutate) bytes[position % bytes.length] = byte;
        if (!readHeader(bytes, header)) return;
        let parsed: Record<string, unknown>;
        try {
          parsed = JSON.parse(bytes.toString('utf8'));
        } catch (error) {
          // Only the inside of a long string is not checked.
          if (bytes.length > 512) return;
          throw error;
        }
        for (const field of ['id', 'to', 'replyTo', 'corrId', 'flowId', 'sid'] as const) {
          expect(header[field]).toBe(parsed[field] ?? '');
        }
        expect(header.rtype).toBe(parsed.rtype ?? 0);
        expect(header.ttl).toBe(parsed.ttl ?? -1);
        expect(header.timeoutMs).toBe((parsed.meta as Record<string, unknown>)?.['timeout-ms'] ?? 0);
        expect((parsed.frame as { type: string }).type).toBe('Data');
      },
    ),
    { numRuns: 20_000 },
  );
});

test.each([
  ['seqId', '"seven"'],
  ['flowFlags', '"x"'],
  ['rtype', '"2"'],
  ['ts', '7'],
  ['sid', '7'],
  ['traceId', '7'],
  ['version', '1'],
  ['seqId', '007'],
])('leaves a %s of %s to the codec, which refuses it', (field, value) => {
  const message = (spelled: string): Buffer => {
    const { frame, ts, ...header } = call() as Record<string, unknown>;
    const rest = Object.entries({ sid: 's', traceId: 't', ...header, ts, seqId: 1, flowFlags: 0 })
      .filter(([name]) => name !== field)
      .map(([name, one]) => `"${name}":${JSON.stringify(one)}`);
    return Buffer.from(`{${rest.join()},"${field}":${spelled},"frame":${JSON.stringify(frame)}}`);
  };
  const isText = ['ts', 'sid', 'traceId', 'version'].includes(field);
  expect(readHeader(message(isText ? '"x"' : '7'), new Header())).toBe(true);
  expect(readHeader(message(value), new Header())).toBe(false);
  expect(() => decode(message(value))).toThrow();
});

test('refuses truncated messages', () => {
  const header = new Header();
  const bytes = bytesOf(call());
  for (let length = 0; length < bytes.length; length++) {
    expect(readHeader(bytes.subarray(0, length), header)).toBe(false);
  }
});

const creditOf = (message: string | Buffer): { flowId: string; credits: number } | undefined => {
  const header = new Header();
  const credit = new Credit();
  const bytes = Buffer.from(message);
  if (readHeader(bytes, header) || header.frameAt === 0) return undefined;
  return readCredit(bytes, header.frameAt, credit) ? { ...credit } : undefined;
};

test('reads a plain CreditUpdate, with and without a timestamp', () => {
  const frame = '"frame":{"type":"CreditUpdate","flowId":"f-1","credits":32}';
  expect(creditOf(`{"id":"a","flowId":"f-1","seqId":0,"flowFlags":2,${frame}}`)).toEqual({
    flowId: 'f-1',
    credits: 32,
  });
  expect(creditOf(`{"id":"a",${frame},"ts":"2026-01-01T00:00:00.000Z"}`)).toEqual({
    flowId: 'f-1',
    credits: 32,
  });
});

test.each(['meta', 'sec'])('leaves a CreditUpdate to the codec if its %s is not valid UTF-8', (field) => {
  const text = `{"id":"a","${field}":{"k":"\u00ff"},"frame":{"type":"CreditUpdate","flowId":"f","credits":32}}`;
  const header = new Header();
  for (const [encoding, isValid] of [
    ['utf8', true],
    ['latin1', false],
  ] as const) {
    const bytes = Buffer.from(text, encoding);
    expect(readHeader(bytes, header)).toBe(false);
    expect(header.frameAt).toBeGreaterThan(0);
    expect(readCredit(bytes, header.frameAt, new Credit())).toBe(isValid);
  }
});

test('leaves a CreditUpdate that is not plain to the codec', () => {
  for (const frame of [
    '{"type":"CreditUpdate","flowId":"","credits":32}',
    '{"type":"CreditUpdate","flowId":"f","credits":0}',
    '{"type":"CreditUpdate","flowId":"f","credits":032}',
    '{"type":"CreditUpdate","flowId":"f","credits":1e3}',
    '{"type":"CreditUpdate","flowId":"f","credits":-1}',
    '{"type":"CreditUpdate","flowId":"f","credits":12345678}',
    '{"type":"CreditUpdate","flowId":"\\u0066","credits":32}',
    '{"type":"CreditUpdate","credits":32,"flowId":"f"}',
    '{"type":"CreditUpdate","flowId":"f","credits":32},"to":"x@y.z"',
    '{"type":"NodeHeartbeat"}',
  ]) {
    expect(creditOf(`{"id":"a","frame":${frame}}`), frame).toBeUndefined();
  }
});

test('agrees with the codec about a CreditUpdate with any byte changed', () => {
  const text =
    '{"version":"1.0","id":"a","flowId":"f-1","frame":{"type":"CreditUpdate","flowId":"f-1","credits":32},"ts":"2026-01-01T00:00:00.000Z"}';
  for (let position = 0; position < text.length; position++) {
    for (let byte = 0; byte < 256; byte++) {
      const bytes = Buffer.from(text);
      bytes[position] = byte;
      const credit = creditOf(bytes);
      if (credit !== undefined) expect(decode(bytes).frame, bytes.toString()).toMatchObject({ ...credit });
    }
  }
});

test('finds the trace context in the metadata, and nothing that only looks like one', () => {
  const context = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  const header = new Header();
  const bytes = bytesOf({ ...call(), meta: { hops: 1, traceparent: context } });
  expect(readHeader(bytes, header)).toBe(true);
  expect(bytes.toString('latin1', header.traceparentAt, header.traceparentAt + 55)).toBe(context);
  for (const meta of [
    {},
    { traceparent: 1 },
    { traceparent: 'short' },
    { other: context },
    { traceparent: { x: context } },
  ]) {
    expect(readHeader(bytesOf({ ...call(), meta }), header)).toBe(true);
    expect(header.traceparentAt).toBe(0);
  }
});
