// Frames for the fuzz test: valid envelopes of every type, drawn by fast-check, and what becomes of them under mutation. All
// of it follows from one seed, so a failure can be had again.
import fc from 'fast-check';

/** A small fast random source (mulberry32): `next()` in [0, 1), `below(n)` a whole number. */
export interface Random {
  next(): number;
  below(n: number): number;
  pick<T>(items: readonly T[]): T;
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return { next, below, pick: (items) => items[below(items.length)]! };
}

/** Names for frames: addresses and paths of nodes that are attached, of nodes that are not, and nonsense. */
export interface World {
  addresses: readonly string[];
  paths: readonly string[];
}

/** `count` valid envelopes; `$PATH` stands for the path of their sender. */
export function validEnvelopes(world: World, count: number, seed: number): object[] {
  const id = fc.stringMatching(/^[0-9a-zA-Z]{1,20}$/);
  const address = fc.oneof(
    fc.constantFrom(...world.addresses),
    fc
      .constantFrom('__sys__', '__rpc__abc', 'w')
      .chain((name) => fc.constantFrom(...world.paths, '$PATH').map((path) => `${name}@${path}`)),
    fc.stringMatching(/^[a-z]{1,8}@[a-z.*]{1,20}$/),
    fc.string({ maxLength: 40 }),
  );
  const names = fc.array(fc.stringMatching(/^[a-z.]{1,20}$/), { maxLength: 4 });
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const payload = fc.oneof(
    { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
    {
      weight: 3,
      arbitrary: fc.record({
        jsonrpc: fc.constant('2.0'),
        id,
        method: fc.constantFrom('echo', 'tasks/send', 'toString', '__proto__', 'constructor'),
        params: fc.jsonValue({ maxDepth: 2 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ jsonrpc: fc.constant('2.0'), id, result: fc.jsonValue({ maxDepth: 2 }) }),
    },
  );
  const ack = { ok: fc.boolean(), refId: id, code: maybe(id), reason: maybe(fc.string()) };
  const type = <T extends string>(name: T) => fc.constant(name);
  const frame = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ type: type('Data'), payload, codec: maybe(fc.constantFrom('json', 'b64')) }),
    },
    fc.record({ type: type('NodeHeartbeat') }),
    fc.record({ type: type('AddressBind'), address, physicalPath: maybe(fc.constant('$PATH')) }),
    fc.record({ type: type('AddressUnbind'), address }),
    fc.record({ type: type('CapabilityAdvertise'), address, capabilities: names }),
    fc.record({ type: type('CapabilityWithdraw'), address, capabilities: names }),
    fc.record({ type: type('CreditUpdate'), flowId: id, credits: fc.integer({ min: 1, max: 64 }) }),
    fc.record({ type: type('CallCancel'), corrId: id }),
    fc.record({ type: type('DeliveryAck'), ...ack }),
    fc.record({ type: type('AddressBindAck'), ...ack }),
    fc.record({ type: type('NodeAttachAck'), ...ack }),
    fc.record({ type: type('NodeHeartbeatAck'), ...ack }),
    fc.record({
      type: type('NodeAttach'),
      originType: fc.constant('downstream'),
      systemId: id,
      instanceId: id,
    }),
    fc.record({ type: fc.constantFrom('SecureOpen', 'SecureAccept', 'SecureClose'), cid: id }),
    fc.record({ type: fc.constantFrom('KeyRequest', 'KeyAnnounce'), physicalPath: fc.constant('$PATH') }),
  );
  const envelope = fc.record(
    {
      version: fc.constant('1.0'),
      id,
      traceId: id,
      to: address,
      replyTo: fc.oneof(fc.constant('__rpc__fuzz@$PATH'), address),
      capabilities: names,
      rtype: fc.integer({ min: 0, max: 7 }),
      corrId: id,
      flowId: id,
      seqId: fc.nat(),
      flowFlags: fc.integer({ min: 0, max: 7 }),
      ttl: fc.integer({ min: 0, max: 3 }),
      meta: fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 1 })),
      frame,
      ts: fc.constant('2026-01-02T03:04:05.678Z'),
    },
    { requiredKeys: ['id', 'frame'] },
  );
  return fc.sample(envelope, { numRuns: count, seed });
}

const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  1e308,
  '',
  'x',
  'a@b',
  'x'.repeat(300),
  '😀'.repeat(60),
  '\u0000',
  '__proto__',
  [],
  [[]],
  {},
  { type: 'Data' },
];
const ODD_TEXTS = [
  'null',
  '0',
  '"',
  '[',
  '{',
  '}',
  ']',
  '\\u0022',
  '\\',
  '\u2028',
  '😀',
  '\u0000',
  ',',
  ':',
  '1e999',
  '"replyTo":"a@b",',
  '"frame":null',
];

// Changes one value or key, at the top or one level below.
function mutateStructure(envelope: Record<string, unknown>, random: Random): void {
  const inner = envelope.frame as Record<string, unknown> | undefined;
  const target = inner !== undefined && random.next() < 0.5 ? inner : envelope;
  const keys = Object.keys(target);
  const key = random.pick(keys);
  const roll = random.next();
  if (roll < 0.4) target[key] = random.pick(ODD_VALUES);
  else if (roll < 0.6) delete target[key];
  else if (roll < 0.75) target[random.pick(keys)] = target[key];
  else if (roll < 0.9) target[`${key}${random.pick(['_', 'X', ' ', '\u0000'])}`] = target[key];
  else target.extra = nest(random.below(90));
}

const nest = (depth: number): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
};

function mutateBytes(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const roll = random.next();
  if (roll < 0.25) return bytes.subarray(0, at);
  if (roll < 0.45) {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[Math.min(at, copy.length - 1)] = random.below(256);
    return copy;
  }
  if (roll < 0.65)
    return Buffer.concat([bytes.subarray(0, at), Buffer.from(random.pick(ODD_TEXTS)), bytes.subarray(at)]);
  if (roll < 0.8)
    return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
  if (roll < 0.9)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(random.below(bytes.length + 1))]);
  return Buffer.concat([bytes, other]);
}

function noise(random: Random): Buffer {
  if (random.next() < 0.5)
    return Buffer.from(random.pick(['', 'null', '[]', '{}', '0', '""', 'true', '{"frame":{}}']));
  return Buffer.from(Array.from({ length: random.below(64) }, () => random.below(256)));
}

/** One message to send: valid, valid but for one field, valid but for some bytes, or noise. */
export function nextMessage(bases: readonly object[], path: string, random: Random): Buffer {
  const roll = random.next();
  if (roll > 0.97) return noise(random);
  const base = random.pick(bases);
  let text: string;
  if (roll < 0.4) text = JSON.stringify(base);
  else {
    const copy = structuredClone(base) as Record<string, unknown>;
    if (roll < 0.8) mutateStructure(copy, random);
    text = JSON.stringify(copy);
  }
  const bytes = Buffer.from(text.replaceAll('$PATH', path));
  if (roll < 0.7) return bytes;
  return mutateBytes(bytes, Buffer.from(JSON.stringify(random.pick(bases))), random);
}
