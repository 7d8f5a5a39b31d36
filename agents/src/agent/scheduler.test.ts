import { settle } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scheduler } from './scheduler.ts';

/** A job that runs until `end` is called. */
function held(scheduler: Scheduler, log: string[], name: string, key?: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const controller = new AbortController();
  const isAccepted = scheduler.submit({
    key,
    scope: controller,
    run: async () => {
      log.push(`+${name}`);
      await promise;
      log.push(`-${name}`);
    },
    abandon: () => log.push(`x${name}`),
  });
  return { isAccepted, end: resolve, abort: () => controller.abort() };
}

describe('Scheduler', () => {
  it('runs jobs up to the limit, the rest in order', async () => {
    const scheduler = new Scheduler({ maxConcurrent: 2, maxWaiting: 10 });
    const log: string[] = [];
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => held(scheduler, log, name));
    expect(log).toEqual(['+a', '+b']);
    expect(scheduler).toMatchObject({ running: 2, waiting: 2 });
    b!.end();
    await settle();
    a!.end();
    await settle();
    expect(log).toEqual(['+a', '+b', '-b', '+c', '-a', '+d']);
    c!.end();
    d!.end();
    await scheduler.idle();
    expect(scheduler).toMatchObject({ running: 0, waiting: 0 });
  });

  it('runs jobs of one key one after the other, and other keys beside them', async () => {
    const scheduler = new Scheduler({ maxConcurrent: 10, maxWaiting: 10 });
    const log: string[] = [];
    const first = held(scheduler, log, '1', 'k');
    const second = held(scheduler, log, '2', 'k');
    const other = held(scheduler, log, 'o', 'other');
    expect(log).toEqual(['+1', '+o']);
    first.end();
    await settle();
    expect(log).toEqual(['+1', '+o', '-1', '+2']);
    second.end();
    other.end();
    await scheduler.idle();
  });

  it('a job that waits for its key does not count towards the limit', async () => {
    const scheduler = new Scheduler({ maxConcurrent: 2, maxWaiting: 10 });
    const log: string[] = [];
    held(scheduler, log, '1', 'k');
    held(scheduler, log, '2', 'k');
    held(scheduler, log, 'free');
    expect(log).toEqual(['+1', '+free']);
  });

  it('refuses jobs beyond the queue limit', async () => {
    const scheduler = new Scheduler({ maxConcurrent: 1, maxWaiting: 1 });
    const log: string[] = [];
    const running = held(scheduler, log, 'a');
    const waiting = held(scheduler, log, 'b');
    expect(held(scheduler, log, 'c').isAccepted).toBe(false);
    running.end();
    waiting.end();
    await scheduler.idle();
    expect(log).toEqual(['+a', '-a', '+b', '-b']);
  });

  it('drops a waiting job whose signal aborts, even if it waits for its key', async () => {
    const scheduler = new Scheduler({ maxConcurrent: 1, maxWaiting: 10 });
    const log: string[] = [];
    const running = held(scheduler, log, 'a', 'k');
    const behindKey = held(scheduler, log, 'b', 'k');
    const ready = held(scheduler, log, 'c', 'l');
    const behindReady = held(scheduler, log, 'd', 'l');
    behindKey.abort();
    ready.abort();
    expect(log).toEqual(['+a', 'xb', 'xc']);
    running.end();
    await settle();
    expect(log.at(-1)).toBe('+d');
    behindReady.end();
    await scheduler.idle();
  });

  it('never exceeds the limit or runs two jobs of a key at once, and runs all jobs in the order of their key', async () => {
    const jobs = fc.array(fc.constantFrom(undefined, 'a', 'b', 'c'), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        jobs,
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat(5)),
        async (keys, max, waits) => {
          const scheduler = new Scheduler({ maxConcurrent: max, maxWaiting: 100 });
          const scope = new AbortController();
          const active: (string | undefined)[] = [];
          const order: Record<string, number[]> = {};
          for (const [n, key] of keys.entries()) {
            const run = async (): Promise<void> => {
              expect(active.length).toBeLessThan(max);
              if (key) expect(active).not.toContain(key);
              active.push(key);
              order[key ?? ''] = [...(order[key ?? ''] ?? []), n];
              for (let i = waits.next().value; i > 0; i--) await null;
              active.splice(active.indexOf(key), 1);
            };
            scheduler.submit({ key, scope, run, abandon: () => {} });
          }
          await scheduler.idle();
          const ran = Object.values(order);
          expect(ran.flat().length).toBe(keys.length);
          for (const list of ran) expect(list).toEqual([...list].sort((x, y) => x - y));
        },
      ),
    );
  });
});
