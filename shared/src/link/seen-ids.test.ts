import { describe, expect, it } from 'vitest';
import { SeenIds } from './seen-ids.ts';

describe('SeenIds', () => {
  it('recognizes recent ids and evicts the oldest', () => {
    const seen = new SeenIds(100);
    expect(seen.add('first')).toBe(true);
    expect(seen.add('first')).toBe(false);
    for (let n = 0; n < 99; n++) expect(seen.add(`id ${n}`)).toBe(true);
    expect(seen.add('first')).toBe(false);
    for (let n = 99; n < 300; n++) seen.add(`id ${n}`);
    expect(seen.add('first')).toBe(true);
    for (let n = 201; n < 300; n++) expect(seen.add(`id ${n}`)).toBe(false);
  });
});
