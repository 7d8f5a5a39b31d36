import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { makeTestParts } from './testing/sentinel-parts.ts';
import { MAX_ANONYMOUS, WaitingRequests } from './waiting-requests.ts';

describe('the requests of all nodes without a key', () => {
  const { attach } = makeTestParts();
  const { session: stranger } = attach('stranger');
  const { session: ours } = attach('ours', { principal: { id: 'local', roles: ['admin'] } });

  /** Adds a request; returns a function that returns its outcome. */
  const add = (waiting: WaitingRequests, key: string, session = stranger) => {
    let outcome = 'waits';
    const attempt = (isLast: boolean): boolean => {
      outcome = isLast ? 'answered' : 'attempted';
      return true;
    };
    waiting.add(key, session, attempt, 1_000);
    return () => outcome;
  };
  const full = (): WaitingRequests => {
    const waiting = new WaitingRequests(new ManualClock());
    for (let n = 0; n < MAX_ANONYMOUS; n++) add(waiting, `key ${n}`);
    return waiting;
  };

  test('are bounded: one more is answered at once, and one with a key waits', () => {
    const waiting = full();
    expect(add(waiting, 'more')()).toBe('answered');
    expect(add(waiting, 'more', ours)()).toBe('waits');
    expect(waiting.countOf(stranger)).toBe(MAX_ANONYMOUS);
  });

  test.each([
    ['were attempted', (waiting: WaitingRequests) => waiting.retry('key 0')],
    ['were ended', (waiting: WaitingRequests) => waiting.end('key 0', stranger)],
    ['lost their node', (waiting: WaitingRequests) => waiting.drop(stranger)],
  ])('make room once they %s', (_, end) => {
    const waiting = full();
    end(waiting);
    expect(add(waiting, 'more')()).toBe('waits');
    expect(add(waiting, 'key 1')() === 'waits').toBe(waiting.countOf(stranger) < 10);
  });
});
