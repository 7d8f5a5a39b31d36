import { expect, it } from 'vitest';
import { sidOf } from './sid.ts';

it('sidOf is base62 of the first 16 bytes of SHA-256, without padding', () => {
  expect(sidOf('/RKsXiRss762vzbhZ')).toBe('1Onwe2yOg0dNOM8EPMDvK0');
  for (let n = 0; n < 1_000; n++) expect(sidOf(`/S/${n}`)).toMatch(/^[0-9a-zA-Z]{17,22}$/);
});
