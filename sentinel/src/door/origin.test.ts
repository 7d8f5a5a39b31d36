import { expect, test } from 'vitest';
import { isAllowedHost, isAllowedOrigin } from './origin.ts';

const options = { allowedOrigins: ['https://app.example'], allowedHosts: ['sentinel'] };

test('programs are admitted, pages only from allowed origins or from the sentinel itself', () => {
  const cases: [string | undefined, string, boolean][] = [
    [undefined, 'anything:8000', true],
    ['https://app.example', 'localhost:8000', true],
    ['http://localhost:8000', 'localhost:8000', true],
    ['http://127.0.0.1:8000', '127.0.0.1:8000', true],
    ['http://[::1]:8000', '[::1]:8000', true],
    ['http://sentinel:8000', 'sentinel:8000', true],
    ['http://localhost:5173', 'localhost:8000', false],
    ['null', 'localhost:8000', false],
    ['https://evil.example', 'localhost:8000', false],
    // DNS rebinding: a foreign name that resolves to this machine.
    ['http://evil.example:8000', 'evil.example:8000', false],
  ];
  for (const [origin, host, allowed] of cases)
    expect(isAllowedOrigin(origin, host, options), String(origin)).toBe(allowed);
});

test('a host is a loopback name or allowed by name', () => {
  expect(isAllowedHost('LOCALHOST:1', options)).toBe(true);
  expect(isAllowedHost('127.1.2.3', options)).toBe(true);
  expect(isAllowedHost('evil.example', options)).toBe(false);
  expect(isAllowedHost(undefined, options)).toBe(false);
});
