import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agentAddressOf, isUnder, parseAddress, poolMatches, tryParseAddress } from './address.ts';

describe('an address', () => {
  it.each([
    ['chat@fame.fabric', { participant: 'chat', host: 'fame.fabric' }],
    ['w@*.fame.fabric', { participant: 'w', host: '*.fame.fabric' }],
    ['__sys__@/S/N', { participant: '__sys__', path: '/S/N' }],
    ['__rpc__0aZ@/S/child-2/n_1.x', { participant: '__rpc__0aZ', path: '/S/child-2/n_1.x' }],
    ['x@host.name/a/b', { participant: 'x', host: 'host.name', path: '/a/b' }],
    ['a-b_C9@h', { participant: 'a-b_C9', host: 'h' }],
  ])('%s is one', (text, parts) => {
    expect(parseAddress(text)).toEqual(parts);
  });

  it.each([
    '',
    '@',
    'chat',
    'chat@',
    '@fame.fabric',
    'bad address',
    'a b@host',
    'a@b@host',
    'a@host name',
    'a@.host',
    'a@host.',
    'a@ho..st',
    'a@*',
    'a@*.',
    'a@x.*.y',
    'a@*x.y',
    'a@/',
    'a@//x',
    'a@/x/',
    'a@/x//y',
    'a@/*',
    'a@/x y',
    'a.b@host',
    'ä@host',
    'a@hö.st',
    'a@host\n',
    '\na@host',
    `a@${'x'.repeat(255)}`,
    'a@host_name',
  ])('%j is none', (text) => {
    expect(tryParseAddress(text)).toBeUndefined();
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'ADDRESS_INVALID' }));
  });

  it('has at most 256 characters', () => {
    expect(tryParseAddress(`a@${'x'.repeat(254)}`)).toBeDefined();
    expect(tryParseAddress(`a@${'x'.repeat(255)}`)).toBeUndefined();
  });

  it('of another type is not an address', () => {
    for (const value of [null, undefined, 1, {}, []]) expect(tryParseAddress(value as never)).toBeUndefined();
    expect(() => parseAddress(undefined as never)).toThrow('is not an address');
  });

  it('is restored from its parts, for any address of the grammar', () => {
    const word = (letters: string) =>
      fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 8 });
    const alnum = 'abcXYZ019';
    const host = fc.tuple(
      fc.constantFrom('', '*.'),
      fc.array(word(`${alnum}-`), { minLength: 1, maxLength: 4 }),
    );
    const path = fc.array(word(`${alnum}._-`), { minLength: 1, maxLength: 4 });
    const location = fc.oneof(
      host.map(([star, labels]) => star + labels.join('.')),
      path.map((segments) => `/${segments.join('/')}`),
      fc
        .tuple(host, path)
        .map(([[star, labels], segments]) => `${star}${labels.join('.')}/${segments.join('/')}`),
    );
    fc.assert(
      fc.property(word(`${alnum}_-`), location, (participant, place) => {
        const { participant: name, host: h = '', path: p = '' } = parseAddress(`${participant}@${place}`);
        expect([name, h + p]).toEqual([participant, place]);
      }),
    );
  });

  it('is refused quickly in any case', () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => void tryParseAddress(text)));
    // Processor time: other processes do not delay it.
    const started = process.cpuUsage();
    for (const evil of ['a', '-', 'a.', '/a', '*.']) tryParseAddress(`x@${evil.repeat(120)}!`);
    expect(process.cpuUsage(started).user / 1_000).toBeLessThan(250);
  });
});

describe('isUnder', () => {
  it.each([
    ['/S/N', '/S', true],
    ['/S', '/S', true],
    ['/S/N/x', '/S/N', true],
    ['/SX', '/S', false],
    ['/S', '/S/N', false],
    ['/T/S', '/S', false],
  ])('%s under %s: %s', (path, root, expected) => {
    expect(isUnder(path, root)).toBe(expected);
  });
});

describe('poolMatches', () => {
  it.each([
    ['fame.fabric', true],
    ['n1.fame.fabric', true],
    ['a.b.fame.fabric', true],
    ['xfame.fabric', false],
    ['fame.fabric.x', false],
    ['fabric', false],
    ['', false],
  ])('*.fame.fabric and %s: %s', (host, expected) => {
    expect(poolMatches('*.fame.fabric', host)).toBe(expected);
  });
});

it.each([
  ['chat@fame.fabric', 'chat@fame.fabric'],
  ['chat@*.fame.fabric', 'chat@fame.fabric'],
  ['chat-replica@fame.fabric', 'chat-replica@fame.fabric'],
  ['chat-replica-0123456789abcDEF@fame.fabric', undefined],
  ['__sys__@/S/N', undefined],
  ['__rpc__x@/S/N', undefined],
])('the agent behind %s is called at %s', (address, agent) => {
  expect(agentAddressOf(address)).toBe(agent);
});
