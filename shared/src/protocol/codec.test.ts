// Every input of the codec becomes an envelope or a FabricError.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { errorOf } from '../testing/attach.ts';
import { checkEnvelope, decode, depthExceeds, encode } from './codec.ts';
import { type Envelope, makeEnvelope } from './envelope.ts';
import { LIMITS } from './limits.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (levels: number, value: unknown = 1): unknown => {
  let all = value;
  for (let level = 0; level < levels; level++) all = [all];
  return all;
};
const codeOf = (fn: () => unknown): string => {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(FabricError);
    return (error as FabricError).code;
  }
  return 'none';
};
const sample = makeEnvelope(
  {
    type: 'Data',
    payload: { jsonrpc: '2.0', id: '1', method: 'é€😀"\\\n', params: { args: [1.5, null, true] } },
  },
  { to: 'chat@fame.fabric', replyTo: '__rpc__x@/S/n', corrId: '1', rtype: 2, flowId: 'f', seqId: 3 },
);

describe('encode and decode', () => {
  it('are inverse to each other for any JSON payload', () => {
    const header = fc.record(
      {
        to: fc.string({ maxLength: 256 }),
        corrId: fc.string({ maxLength: 256 }),
        rtype: fc.nat(),
        seqId: fc.nat(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), header, (payload, fields) => {
        const envelope = makeEnvelope({ type: 'Data', payload }, fields);
        const copy = JSON.parse(JSON.stringify(envelope));
        expect(decode(encode(envelope))).toEqual(copy);
        expect(decode(new TextDecoder().decode(encode(envelope)))).toEqual(copy);
      }),
    );
  });

  it('keep unknown keys', () => {
    const odd = { id: 'x', later: { a: 1 }, frame: { type: 'Data', payload: null, new: true } };
    expect(decode(JSON.stringify(odd))).toEqual(odd);
  });
});

describe('decode', () => {
  it('throws only FabricError for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void codeOf(() => decode(bytes))),
      {
        numRuns: 2_000,
      },
    );
  });

  it('throws only FabricError for any JSON', () => {
    fc.assert(
      fc.property(fc.json(), (text) => void codeOf(() => decode(text))),
      { numRuns: 1_000 },
    );
    const frame = fc.dictionary(
      fc.constantFrom(
        'type',
        'payload',
        'ok',
        'flowId',
        'credits',
        'address',
        'capabilities',
        'corrId',
        '__proto__',
      ),
      fc.oneof(
        fc.jsonValue(),
        fc.constantFrom('Data', 'CreditUpdate', 'AddressBind', 'constructor', 'toString'),
      ),
    );
    const envelope = fc.record({ id: fc.jsonValue(), to: fc.jsonValue(), rtype: fc.jsonValue(), frame });
    fc.assert(
      fc.property(envelope, (value) => void codeOf(() => decode(JSON.stringify(value)))),
      { numRuns: 2_000 },
    );
  });

  it('refuses a truncated message, at every offset', () => {
    const bytes = encode(sample);
    for (let end = 0; end < bytes.byteLength; end++) {
      expect(codeOf(() => decode(bytes.subarray(0, end)))).toBe('PROTO_MALFORMED');
    }
    expect(decode(bytes)).toEqual(JSON.parse(JSON.stringify(sample)));
  });

  it('accepts or refuses a message with any single byte changed', () => {
    const bytes = encode(sample);
    fc.assert(
      fc.property(fc.nat(bytes.byteLength - 1), fc.nat(255), (at, byte) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = byte;
        codeOf(() => decode(changed));
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses invalid UTF-8, inside strings too, and a byte order mark', () => {
    const bytes = encode(sample);
    const at = bytes.indexOf(0xe2);
    expect(at).toBeGreaterThan(0);
    expect(codeOf(() => decode(Uint8Array.from(bytes).fill(0xff, at, at + 1)))).toBe('PROTO_MALFORMED');
    expect(codeOf(() => decode(bytesOf(`\ufeff${JSON.stringify(sample)}`)))).toBe('PROTO_MALFORMED');
  });

  it('does not quote the content of a refused message', async () => {
    const error = await errorOf(Promise.resolve().then(() => decode('{"password":"hunter2"')));
    expect(error.message).not.toContain('hunter2');
  });

  it('accepts at most 262,144 bytes', () => {
    const empty = encode(makeEnvelope({ type: 'Data', payload: '' }, { id: 'x' })).byteLength;
    const of = (size: number) =>
      JSON.stringify(makeEnvelope({ type: 'Data', payload: 'x'.repeat(size - empty) }, { id: 'x' }));
    expect(bytesOf(of(LIMITS.maxEnvelopeBytes)).byteLength).toBe(LIMITS.maxEnvelopeBytes);
    expect(decode(of(LIMITS.maxEnvelopeBytes)).id).toBe('x');
    expect(codeOf(() => decode(of(LIMITS.maxEnvelopeBytes + 1)))).toBe('MESSAGE_TOO_LARGE');
    expect(codeOf(() => encode(JSON.parse(of(LIMITS.maxEnvelopeBytes + 1))))).toBe('MESSAGE_TOO_LARGE');
    expect(encode(JSON.parse(of(LIMITS.maxEnvelopeBytes))).byteLength).toBe(LIMITS.maxEnvelopeBytes);
  });

  it('counts the bytes of a string, not its characters', () => {
    const payload = '€'.repeat(90_000);
    expect(payload.length).toBeLessThan(LIMITS.maxEnvelopeBytes);
    expect(codeOf(() => decode(JSON.stringify({ frame: { type: 'Data', payload } })))).toBe(
      'MESSAGE_TOO_LARGE',
    );
  });

  it('accepts at most 64 levels and ignores brackets in strings', () => {
    const of = (levels: number) =>
      JSON.stringify({ id: '', frame: { type: 'Data', payload: nested(levels - 2) } });
    expect(decode(of(64)).frame.type).toBe('Data');
    expect(codeOf(() => decode(of(65)))).toBe('PROTO_TOO_DEEP');
    expect(codeOf(() => decode('['.repeat(200_000)))).toBe('PROTO_TOO_DEEP');
    const text = '[{'.repeat(100);
    for (const payload of [text, `"${text}`, `\\"${text}`, `\\\\"${text}`, { [text]: 1 }]) {
      expect(decode(JSON.stringify({ id: '', frame: { type: 'Data', payload } })).frame).toEqual({
        type: 'Data',
        payload,
      });
    }
  });

  it('sets no prototype', () => {
    const envelope = decode(
      '{"__proto__":{"admin":true},"frame":{"type":"Data","payload":{"__proto__":{"x":1}}}}',
    );
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
    expect(Object.getPrototypeOf(envelope)).toBe(Object.prototype);
  });
});

describe('encode', () => {
  it('refuses values that JSON cannot represent', () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    for (const payload of [1n, loop]) {
      expect(codeOf(() => encode(makeEnvelope({ type: 'Data', payload })))).toBe('PROTO_MALFORMED');
    }
  });
});

describe('depthExceeds', () => {
  const depthOf = (value: unknown): number =>
    typeof value !== 'object' || value === null
      ? 0
      : 1 + Math.max(0, ...Object.values(value).map((inner) => depthOf(inner)));

  it('counts as a parser would', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(8), (value, limit) => {
        expect(depthExceeds(bytesOf(JSON.stringify(value)), limit)).toBe(depthOf(value) > limit);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('checkEnvelope', () => {
  const check = (fields: object): Envelope =>
    checkEnvelope({ frame: { type: 'Data', payload: 1 }, ...fields });

  it.each(['id', 'sid', 'traceId', 'to', 'replyTo', 'corrId', 'flowId', 'ts', 'version', 'priority'])(
    'requires %s to be a text of at most 256 characters, or absent',
    (field) => {
      expect(check({ [field]: 'x'.repeat(256) })).toMatchObject({ [field]: 'x'.repeat(256) });
      expect(codeOf(() => check({ [field]: 'x'.repeat(257) }))).toBe('PROTO_MALFORMED');
      for (const value of [1, true, [], {}])
        expect(codeOf(() => check({ [field]: value }))).toBe('PROTO_MALFORMED');
      if (field !== 'id') expect(field in check({ [field]: null })).toBe(false);
    },
  );

  it.each(['rtype', 'seqId', 'flowFlags', 'ttl'])('requires %s to be a whole number or absent', (field) => {
    expect(check({ [field]: 0 })).toMatchObject({ [field]: 0 });
    for (const value of [-1, 1.5, '1', true, [], 2 ** 53]) {
      expect(codeOf(() => check({ [field]: value }))).toBe('PROTO_MALFORMED');
    }
    expect(field in check({ [field]: null })).toBe(false);
  });

  it('requires capabilities to be at most 32 names', () => {
    expect(check({ capabilities: Array(32).fill('x') }).capabilities).toHaveLength(32);
    expect('capabilities' in check({ capabilities: null })).toBe(false);
    for (const capabilities of ['x', {}, [1], [''], ['x'.repeat(257)], Array(33).fill('x')]) {
      expect(codeOf(() => check({ capabilities }))).toBe('PROTO_MALFORMED');
    }
  });

  it('makes a missing id empty', () => {
    expect(check({}).id).toBe('');
  });

  it('refuses values that are not objects', () => {
    for (const value of [null, undefined, 1, 'x', [], true]) {
      expect(codeOf(() => checkEnvelope(value))).toBe('PROTO_MALFORMED');
    }
  });
});
