import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decode, encode } from '../codec.ts';
import { type DataFrame, type Envelope, makeEnvelope } from '../envelope.ts';
import { canonicalJson, parseForPython } from './canonical-json.ts';
import { type Jwk, readJwks } from './jwk.ts';
import { readSignature, signEnvelope, verifyEnvelope } from './signature.ts';
import { generateSigningKey, type VerifyKey, verifyKeyOf } from './signing-keys.ts';

/** Messages of unmodified nodes of the peer, and the public keys of their signers. */
interface Capture {
  readonly keys: readonly { path: string; jwk: Jwk }[];
  readonly messages: readonly string[];
}

const FOLDER = join(import.meta.dirname, '../../../../test/fixtures/signed');
const capture = (language: string): Capture =>
  JSON.parse(readFileSync(join(FOLDER, `${language}.json`), 'utf8'));

const PATH = '/S/node';
const key = generateSigningKey();
const verifyKey = verifyKeyOf(key.jwk, PATH);

function signed(payload: unknown, header: Partial<Envelope> = {}): { envelope: Envelope; bytes: Uint8Array } {
  const envelope: Envelope = makeEnvelope<DataFrame>(
    { type: 'Data', payload },
    { traceId: 't', to: 'chat@fame.fabric', replyTo: `__rpc__x@${PATH}`, corrId: 'c', ...header },
  );
  signEnvelope(envelope, key, PATH);
  const bytes = encode(envelope);
  return { envelope: decode(bytes), bytes };
}

describe('captured messages of the peer', () => {
  it.each(['typescript', 'python'])(
    'the signatures of %s nodes verify, and break with one altered field',
    (language) => {
      const { keys, messages } = capture(language);
      const byKid = new Map<string, VerifyKey>();
      for (const { jwk, path } of keys) byKid.set(jwk.kid, verifyKeyOf(readJwks([jwk])[0]!, path));
      const types = new Set<string>();
      for (const message of messages) {
        const bytes = Buffer.from(message);
        const envelope = decode(bytes);
        types.add(envelope.frame.type);
        const signer = byKid.get(readSignature(envelope.sec)!.kid)!;
        expect(verifyEnvelope(envelope, bytes, signer), message).toBe(true);
        expect(verifyEnvelope({ ...envelope, id: 'other' }, bytes, signer)).toBe(false);
        expect(verifyEnvelope({ ...envelope, corrId: 'other' }, bytes, signer)).toBe(false);
      }
      expect([...types].sort()).toEqual(
        [
          'AddressBind',
          'AddressBindAck',
          'CapabilityAdvertise',
          'CapabilityAdvertiseAck',
          'Data',
          'DeliveryAck',
          'KeyAnnounce',
          'KeyRequest',
          ...(language === 'typescript' ? ['NodeHeartbeat'] : []),
        ].sort(),
      );
    },
  );
});

describe('canonical JSON', () => {
  it('sorts keys at every level, and integer keys first in the form of JavaScript', () => {
    const value = { z: 1, 10: [{ b: undefined, a: null }], 2: 'é\u2028', a: new Date(0) };
    expect(canonicalJson(value)).toBe(
      '{"2":"é\u2028","10":[{"a":null}],"a":"1970-01-01T00:00:00.000Z","z":1}',
    );
    expect(canonicalJson(JSON.parse('{"2":1,"10":2}'), 'python')).toBe('{"10":2,"2":1}');
  });

  it('contains a member named __proto__', () => {
    expect(canonicalJson(JSON.parse('{"__proto__":{"admin":true}}'))).toBe('{"__proto__":{"admin":true}}');
  });

  it.each([
    ['1.0', '1.0'],
    ['-0.0', '-0.0'],
    ['1', '1'],
    ['12345678901234567890', '12345678901234567890'],
    ['1e22', '1e+22'],
    ['1.5e-7', '1.5e-07'],
    ['0.0001', '0.0001'],
    ['0.00012', '0.00012'],
    ['-2.5', '-2.5'],
    ['123456789.25', '123456789.25'],
    ['1e15', '1000000000000000.0'],
    ['1e16', '1e+16'],
  ])('writes %s as Python does: %s', (text, python) => {
    expect(canonicalJson(parseForPython(`[${text}]`), 'python')).toBe(`[${python}]`);
  });
});

describe('signatures', () => {
  it('survive the fields that hops change, and the transport', () => {
    const { envelope, bytes } = signed({
      jsonrpc: '2.0',
      id: 'c',
      method: 'm',
      params: { a: 1.5, b: undefined },
    });
    expect(verifyEnvelope(envelope, bytes, verifyKey)).toBe(true);
    expect(verifyEnvelope({ ...envelope, seqId: 9, flowFlags: 1, flowId: 'f' }, bytes, verifyKey)).toBe(true);
  });

  it.each([undefined, null, '', 0, [], {}, 'text', [null, { a: [] }]])('cover the payload %j', (payload) => {
    const { envelope, bytes } = signed(payload ?? null);
    expect(verifyEnvelope(envelope, bytes, verifyKey)).toBe(true);
  });

  it('do not cover another header, payload, frame, path or key', () => {
    const { envelope, bytes } = signed({ amount: 1 });
    const frame = envelope.frame as DataFrame;
    const altered: Envelope[] = [
      ...(['id', 'sid', 'traceId', 'to', 'replyTo', 'corrId', 'version'] as const).map((field) => ({
        ...envelope,
        [field]: `${envelope[field]}x`,
      })),
      { ...envelope, sid: undefined },
      { ...envelope, capabilities: ['a'] },
      { ...envelope, frame: { ...frame, payload: { amount: 2 } } },
      { ...envelope, frame: { ...frame, pd: undefined } },
      { ...envelope, frame: { ...frame, pd: 'x', payload: { amount: 2 } } },
      { ...envelope, frame: { type: 'DeliveryAck', ok: true } },
      { ...envelope, sec: undefined },
      { ...envelope, sec: { sig: { kid: key.kid, val: 'A'.repeat(86), alg: 'EdDSA' } } },
    ];
    for (const each of altered) {
      const message = encode(each);
      expect(verifyEnvelope(decode(message), message, verifyKey), JSON.stringify(each)).toBe(false);
    }
    expect(verifyEnvelope(envelope, bytes, verifyKeyOf(key.jwk, '/S/other'))).toBe(false);
    const other = generateSigningKey();
    expect(verifyEnvelope(envelope, bytes, verifyKeyOf({ ...other.jwk, kid: key.kid }, PATH))).toBe(false);
  });

  it('are read only in the expected form', () => {
    const val = 'A'.repeat(86);
    expect(readSignature({ sig: { kid: 'k', val } })).toEqual({ kid: 'k', val, alg: 'EdDSA' });
    for (const sig of [
      null,
      'k',
      {},
      { kid: 'k' },
      { kid: '', val },
      { kid: 'k', val: 'A' },
      { kid: 'k', val, alg: 'none' },
    ]) {
      expect(readSignature({ sig })).toBeUndefined();
    }
    expect(readSignature(undefined)).toBeUndefined();
  });

  it('of a payload without a JSON form are refused', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    expect(() => signed(cyclic)).toThrow(expect.objectContaining({ code: 'PROTO_MALFORMED' }));
  });
});

describe('keys of other nodes', () => {
  it('are read only if they are of a supported kind, at most four, and without further members', () => {
    const { jwk } = key;
    expect(readJwks([{ ...jwk, d: 'private', x5c: [] }])).toEqual([jwk]);
    for (const bad of [
      { ...jwk, kty: 'RSA' },
      { ...jwk, crv: 'Ed448' },
      { ...jwk, use: 'enc' },
      { ...jwk, x: 'short' },
      { ...jwk, kid: 'a b' },
      { ...jwk, kid: 7 },
      null,
      'text',
    ]) {
      expect(readJwks([bad])).toEqual([]);
    }
    expect(readJwks({})).toEqual([]);
    expect(readJwks(Array(100).fill(jwk))).toHaveLength(4);
    const x5c = ['MIIB+/=='];
    expect(readJwks([{ ...jwk, x5c }])).toEqual([{ ...jwk, x5c }]);
    for (const bad of ['text', [7], ['<>'], ['A'.repeat(8_193)]]) {
      expect(readJwks([{ ...jwk, x5c: bad }])).toEqual([jwk]);
    }
  });
});

it.each([
  ['[null]', '[1e400]'],
  ['{"a":null}', '{"a":-1e999}'],
  ['[0]', '[-0]'],
])('a payload %s that was altered to %s is not intact', (before, after) => {
  const { envelope, bytes } = signed(JSON.parse(before));
  const altered = Buffer.from(Buffer.from(bytes).toString().replace(before, after));
  expect(altered.equals(bytes)).toBe(false);
  expect(verifyEnvelope(envelope, bytes, verifyKey)).toBe(true);
  expect(verifyEnvelope(decode(altered), altered, verifyKey)).toBe(false);
});
