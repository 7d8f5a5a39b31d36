import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { settle } from '../testing/manual-clock.ts';
import { type KeyedJob, KeyedQueue } from './keyed-queue.ts';

/** A job that runs until the test ends it. */
function jobOf(log: string[], name: string, key?: string): KeyedJob & { end(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    key,
    run: async () => {
      log.push(`+${name}`);
      await promise;
      log.push(`-${name}`);
    },
    end: resolve,
  };
}

describe('KeyedQueue', () => {
  test('runs jobs in parallel up to its limit, the others in order', async () => {
    const queue = new KeyedQueue({ maxRunning: 2 });
    const log: string[] = [];
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => jobOf(log, name));
    expect([a, b, c, d].map((job) => queue.add(job!))).toEqual(['running', 'running', 'waiting', 'waiting']);
    expect([queue.running, queue.waiting]).toEqual([2, 2]);
    b!.end();
    await settle();
    a!.end();
    await settle();
    expect(log).toEqual(['+a', '+b', '-b', '+c', '-a', '+d']);
    c!.end();
    d!.end();
    await queue.idle();
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  test('runs jobs of one key one after the other, and those of other keys in parallel', async () => {
    const queue = new KeyedQueue({ maxRunning: 10 });
    const log: string[] = [];
    const [first, second, other] = [jobOf(log, '1', 'k'), jobOf(log, '2', 'k'), jobOf(log, 'o', 'other')];
    for (const job of [first, second, other]) queue.add(job);
    expect(log).toEqual(['+1', '+o']);
    expect(queue.runningOf('k')).toBe(first);
    expect(queue.waitingOf('k')).toEqual([second]);
    first.end();
    await settle();
    expect(log).toEqual(['+1', '+o', '-1', '+2']);
    second.end();
    other.end();
    await queue.idle();
    expect(queue.has('k')).toBe(false);
  });

  test('runs at most the limit of jobs of one key at once, and the keys in turn', async () => {
    const queue = new KeyedQueue({ maxRunning: 3, maxRunningPerKey: 2 });
    const log: string[] = [];
    const jobs = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2'].map((name) => jobOf(log, name, name[0]));
    const [a1, a2] = jobs;
    for (const job of jobs) queue.add(job);
    expect(log).toEqual(['+a1', '+a2', '+b1']);
    expect(queue.runningOf('a')).toBe(a1);
    a1!.end();
    await settle();
    expect(log.slice(3)).toEqual(['-a1', '+b2']);
    a2!.end();
    await settle();
    expect(log.slice(5)).toEqual(['-a2', '+a3']);
    for (const job of jobs) job.end();
    await queue.idle();
    expect(log.at(-1)).toBe('-a4');
    expect(queue.has('a')).toBe(false);
  });

  test('a removed job leaves its key within its limit', async () => {
    const queue = new KeyedQueue({ maxRunning: 2, maxRunningPerKey: 2 });
    const log: string[] = [];
    const [x, a1, removed, a2, a3] = ['x', 'a1', 'a-', 'a2', 'a3'].map((name) => jobOf(log, name, name[0]));
    for (const job of [x, a1, removed]) queue.add(job!);
    expect(queue.remove(removed!)).toBe(true);
    x!.end();
    await settle();
    expect([queue.add(a2!), queue.add(a3!)]).toEqual(['running', 'waiting']);
    a1!.end();
    await settle();
    expect(log).toEqual(['+x', '+a1', '-x', '+a2', '-a1', '+a3']);
  });

  test('a job that waits for its key takes no slot from others', () => {
    const queue = new KeyedQueue({ maxRunning: 2 });
    const log: string[] = [];
    for (const job of [jobOf(log, '1', 'k'), jobOf(log, '2', 'k'), jobOf(log, 'free')]) queue.add(job);
    expect(log).toEqual(['+1', '+free']);
  });

  test('a key with many jobs waits for the turns of other keys after each job', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    const jobs = [jobOf(log, 'a1', 'a'), jobOf(log, 'a2', 'a'), jobOf(log, 'a3', 'a'), jobOf(log, 'b', 'b')];
    for (const job of jobs) queue.add(job);
    for (const job of jobs) job.end();
    await queue.idle();
    expect(log.filter((line) => line.startsWith('+'))).toEqual(['+a1', '+b', '+a2', '+a3']);
  });

  test('refuses jobs above the limits of waiting jobs, in all and per key', async () => {
    const queue = new KeyedQueue({ maxRunning: 1, maxWaiting: 2, maxWaitingPerKey: 1 });
    const log: string[] = [];
    const running = jobOf(log, 'a', 'k');
    expect(queue.add(running)).toBe('running');
    expect(queue.add(jobOf(log, 'b', 'k'))).toBe('waiting');
    expect(queue.add(jobOf(log, 'c', 'k'))).toBe('key-full');
    expect(queue.add(jobOf(log, 'd', 'l'))).toBe('waiting');
    expect(queue.add(jobOf(log, 'e'))).toBe('full');
    expect(queue.waiting).toBe(2);
  });

  test('removes waiting jobs only', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    const [running, behindKey, inLine] = [jobOf(log, 'a', 'k'), jobOf(log, 'b', 'k'), jobOf(log, 'c', 'l')];
    const [behindLine, free] = [jobOf(log, 'd', 'l'), jobOf(log, 'e')];
    for (const job of [running, behindKey, inLine, behindLine, free]) queue.add(job);
    expect([behindKey, inLine, free, running].map((job) => queue.remove(job))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(queue.remove(behindKey)).toBe(false);
    running.end();
    behindLine.end();
    await queue.idle();
    expect(log).toEqual(['+a', '-a', '+d', '-d']);
  });

  test('after a removed job its key has one turn, not two', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    const [blocker, removed] = [jobOf(log, 'x', 'x'), jobOf(log, 'r', 'k')];
    for (const job of [blocker, removed]) queue.add(job);
    queue.remove(removed);
    const [b, c] = [jobOf(log, 'b', 'k'), jobOf(log, 'c', 'k')];
    for (const job of [b, c]) queue.add(job);
    blocker.end();
    await settle();
    expect(log).toEqual(['+x', '-x', '+b']);
    b.end();
    c.end();
    await queue.idle();
  });

  test('is idle when its last waiting job is removed', async () => {
    const queue = new KeyedQueue({ maxRunning: 0 });
    const job = jobOf([], 'a');
    queue.add(job);
    const idle = queue.idle();
    queue.remove(job);
    await idle;
  });

  test('a job that rejects does not stop the next ones', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    queue.add({ key: 'k', run: () => Promise.reject(new Error('broken')) });
    const next = jobOf(log, 'b', 'k');
    queue.add(next);
    next.end();
    await queue.idle();
    expect(log).toEqual(['+b', '-b']);
  });

  test('runs jobs up to a sum of weights, in order, and a job above the limit alone', async () => {
    const queue = new KeyedQueue({ maxRunning: 10, maxRunningWeight: 10 });
    const log: string[] = [];
    const [a, b, c, heavy, d] = [6, 6, 4, 99, 1].map((weight, n) => ({
      ...jobOf(log, 'abchd'[n]!, 'abchd'[n]!),
      weight,
    }));
    expect(queue.add(a!)).toBe('running');
    expect(queue.add(b!)).toBe('waiting');
    // It has room, but b came first.
    expect(queue.add(c!)).toBe('waiting');
    for (const job of [heavy, d]) queue.add(job!);
    a!.end();
    await settle();
    expect(log).toEqual(['+a', '-a', '+b', '+c']);
    b!.end();
    await settle();
    expect(log.at(-1)).toBe('-b');
    c!.end();
    await settle();
    expect(log.at(-1)).toBe('+h');
    heavy!.end();
    await settle();
    expect(log.at(-1)).toBe('+d');
    d!.end();
    await queue.idle();
  });

  test('starts the next jobs when one that waits for more room is removed', () => {
    const queue = new KeyedQueue({ maxRunning: 10, maxRunningWeight: 10 });
    const log: string[] = [];
    const [a, heavy, b] = [6, 9, 4].map((weight, n) => ({ ...jobOf(log, 'ahb'[n]!), weight }));
    for (const job of [a, heavy, b]) queue.add(job!);
    queue.remove(heavy!);
    expect(log).toEqual(['+a', '+b']);
  });

  test('a suspended job gives its place to another key, keeps that of its key, and comes first when it resumes', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    const [a, behind, b, c] = [
      jobOf(log, 'a', 'k'),
      jobOf(log, 'behind', 'k'),
      jobOf(log, 'b', 'l'),
      jobOf(log, 'c'),
    ];
    for (const job of [a, behind, b, c]) queue.add(job);
    queue.suspend(a);
    queue.suspend(a);
    expect(log).toEqual(['+a', '+b']);
    expect([queue.running, queue.waiting, queue.runningOf('k')]).toEqual([1, 2, a]);
    let isBack = false;
    void queue.resume(a).then(() => {
      isBack = true;
    });
    await settle();
    expect(isBack).toBe(false);
    b.end();
    await settle();
    expect([isBack, queue.running, log]).toEqual([true, 1, ['+a', '+b', '-b']]);
    for (const job of [a, behind, c]) job.end();
    await queue.idle();
    expect(log.slice(3)).toEqual(['-a', '+c', '-c', '+behind', '-behind']);
  });

  test('a job that ends while it is suspended frees no second place', async () => {
    const queue = new KeyedQueue({ maxRunning: 1 });
    const log: string[] = [];
    const [a, b, c] = [jobOf(log, 'a'), jobOf(log, 'b'), jobOf(log, 'c')];
    for (const job of [a, b, c]) queue.add(job);
    queue.suspend(a);
    // It waits for a place and ends without one.
    void queue.resume(a);
    a.end();
    await settle();
    expect([queue.running, queue.waiting, log]).toEqual([1, 1, ['+a', '+b', '-a']]);
    let isIdle = false;
    void queue.idle().then(() => {
      isIdle = true;
    });
    await settle();
    expect(isIdle).toBe(false);
    b.end();
    c.end();
    await queue.idle();
  });

  test('never exceeds its limits in all and per key, and starts the jobs of a key in order', async () => {
    const keyLists = fc.array(fc.constantFrom(undefined, 'a', 'b', 'c'), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        keyLists,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.infiniteStream(fc.nat(5)),
        async (keys, maxRunning, maxRunningPerKey, turns) => {
          const queue = new KeyedQueue({ maxRunning, maxRunningPerKey });
          const active: (string | undefined)[] = [];
          const order = new Map<string | undefined, number[]>();
          for (const [n, key] of keys.entries()) {
            const run = async (): Promise<void> => {
              expect(active.length).toBeLessThan(maxRunning);
              if (key) expect(active.filter((other) => other === key).length).toBeLessThan(maxRunningPerKey);
              active.push(key);
              order.set(key, [...(order.get(key) ?? []), n]);
              for (let left = turns.next().value; left > 0; left--) await null;
              active.splice(active.indexOf(key), 1);
            };
            queue.add({ key, run });
          }
          await queue.idle();
          const ran = [...order.values()];
          expect(ran.flat().length).toBe(keys.length);
          for (const list of ran) expect(list).toEqual(list.toSorted((x, y) => x - y));
        },
      ),
    );
  });
});
