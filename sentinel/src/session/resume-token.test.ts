import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { newToken, tokenDigest } from './resume-token.ts';

test('a token has 128 random bits, also after the first draw is used up', () => {
  const tokens = Array.from({ length: 200 }, newToken);
  expect(new Set(tokens).size).toBe(200);
  const first = tokens.map((token) => {
    const bytes = Buffer.from(token, 'base64url');
    expect(bytes.length).toBe(16);
    return bytes[0];
  });
  expect(new Set(first).size).toBeGreaterThan(50);
});

test('the digest of a token is its SHA-256, one character a byte', () => {
  const expected = createHash('sha256').update('token').digest().toString('latin1');
  expect(tokenDigest('token')).toBe(expected);
  expect(tokenDigest('token')).toHaveLength(32);
});
