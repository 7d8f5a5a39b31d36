import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { readMasterKeys, StateKeys } from './state-keys.ts';

const PLACE = { agent: 'shop@fame.fabric', kind: 'state', key: 'cart' } as const;
const first = randomBytes(32);
const second = randomBytes(32);

describe('master keys', () => {
  test('are read in base64, base64url and hexadecimal', () => {
    const text = `${first.toString('base64')},${second.toString('base64url')},${first.toString('hex')}`;
    expect(readMasterKeys(text)?.map((key) => Buffer.from(key))).toEqual([first, second, first]);
  });

  test.each([
    '',
    'secret',
    randomBytes(16).toString('hex'),
    randomBytes(33).toString('base64'),
    `${first.toString('hex')},x`,
    `${'!'.repeat(43)}=`,
  ])('of another form are refused: %s', (text) => {
    expect(readMasterKeys(text)).toBeUndefined();
  });
});

describe('a text', () => {
  test('is stored as it is without a key', () => {
    expect(new StateKeys().seal('"a"', PLACE)).toEqual({ text: '"a"', keyId: '' });
  });

  test('is encrypted with the first key, each time differently, and read back', () => {
    const keys = new StateKeys([first, second]);
    const text = JSON.stringify({ name: 'Ada 😀' });
    const [one, two] = [keys.seal(text, PLACE), keys.seal(text, PLACE)];
    expect(one.text).not.toBe(two.text);
    expect(Buffer.from(one.text, 'base64').toString('latin1')).not.toContain('Ada');
    expect(new StateKeys([first]).open(one, PLACE)).toBe(text);
    expect(keys.open({ text, keyId: '' }, PLACE)).toBe(text);
  });

  test('of an earlier key is read after a rotation, and written with the new one', () => {
    const old = new StateKeys([first]).seal('1', PLACE);
    const rotated = new StateKeys([second, first]);
    expect(rotated.open(old, PLACE)).toBe('1');
    expect(rotated.seal('1', PLACE).keyId).not.toBe(old.keyId);
    expect(() => rotated.assertKnown(PLACE.agent, [old.keyId])).not.toThrow();
  });

  test('of a missing key is an error that names the key, and not its value', () => {
    const sealed = new StateKeys([first]).seal('1', PLACE);
    for (const keys of [new StateKeys(), new StateKeys([second])]) {
      const missing = expect.objectContaining({
        code: 'STATE_KEY_MISSING',
        message: expect.stringContaining(sealed.keyId),
      });
      expect(() => keys.open(sealed, PLACE)).toThrow(missing);
      expect(() => keys.assertKnown(PLACE.agent, [sealed.keyId])).toThrow(missing);
    }
    expect(first.toString('hex')).not.toContain(sealed.keyId);
  });

  test.each([
    ['another key', { key: 'other' }],
    ['another agent', { agent: 'other@fame.fabric' }],
    ['another kind', { kind: 'params' }],
  ] as const)('that was moved to %s is refused', (_, place) => {
    const keys = new StateKeys([first]);
    const sealed = keys.seal('1', PLACE);
    expect(() => keys.open(sealed, { ...PLACE, ...place })).toThrow(
      expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
    );
  });

  test('that was changed or cut is refused', () => {
    const keys = new StateKeys([first]);
    const { text, keyId } = keys.seal('12345', PLACE);
    const bytes = Buffer.from(text, 'base64');
    bytes[14]! ^= 1;
    for (const changed of [bytes.toString('base64'), text.slice(0, 8), '']) {
      expect(() => keys.open({ text: changed, keyId }, PLACE)).toThrow(
        expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
      );
    }
  });
});
