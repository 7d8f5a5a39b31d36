import { FabricError } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { Inbox, type InboxEntry } from './inbox.ts';

/** A turn that runs until its `end` is called, and logs what it does. */
function turnOf(name: string, log: string[], inbox: Inbox, box = 'c') {
  let end: () => void = () => {};
  const turn: InboxEntry & { end(): void } = {
    key: box,
    weight: 1,
    run() {
      log.push(`${name} runs`);
      return new Promise((resolve) => {
        end = () => {
          log.push(`${name} ends`);
          resolve();
        };
      });
    },
    cancel(reason) {
      log.push(`${name} cancelled`);
      expect(reason).toBeInstanceOf(FabricError);
      if (!inbox.withdraw(turn)) turn.end();
    },
    end: () => end(),
  };
  return turn;
}
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('one conversation', () => {
  test('HI-4: turns run one at a time and in order', async () => {
    const inbox = new Inbox();
    const log: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => turnOf(name, log, inbox));
    for (const turn of [a!, b!, c!]) inbox.put(turn);
    a!.end();
    await soon();
    b!.end();
    await soon();
    c!.end();
    await soon();
    expect(log).toEqual(['a runs', 'a ends', 'b runs', 'b ends', 'c runs', 'c ends']);
    expect(inbox.isBusy('c')).toBe(false);
    expect([inbox.running, inbox.waiting]).toEqual([0, 0]);
  });

  test('HI-4: under `reject` a second turn is refused', () => {
    const inbox = new Inbox();
    inbox.put(turnOf('a', [], inbox), 'reject');
    expect(() => inbox.check('c', 'reject')).toThrow(expect.objectContaining({ code: 'TURN_IN_PROGRESS' }));
    expect(() => inbox.check('other', 'reject')).not.toThrow();
  });

  test('at most 16 turns wait', () => {
    const inbox = new Inbox();
    for (let i = 0; i < 17; i++) {
      inbox.check('c', 'queue');
      inbox.put(turnOf(`${i}`, [], inbox));
    }
    expect(() => inbox.check('c', 'queue')).toThrow(expect.objectContaining({ code: 'TURN_QUEUE_FULL' }));
  });

  test('under `interrupt` the newest turn supersedes all earlier ones', async () => {
    const inbox = new Inbox();
    const log: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => turnOf(name, log, inbox));
    inbox.put(a!, 'queue');
    inbox.put(b!, 'queue');
    inbox.put(c!, 'interrupt');
    await soon();
    expect(log).toEqual(['a runs', 'b cancelled', 'a cancelled', 'a ends', 'c runs']);
  });

  test('a turn that throws does not stop the turns after it', async () => {
    const inbox = new Inbox();
    const log: string[] = [];
    inbox.put({ key: 'c', weight: 1, run: () => Promise.reject(new Error('broken')), cancel: () => {} });
    inbox.put(turnOf('b', log, inbox));
    await soon();
    expect(log).toEqual(['b runs']);
  });

  test('a withdrawn turn leaves no duplicate entry in the queue', async () => {
    const inbox = new Inbox({ maxRunning: 1 });
    const log: string[] = [];
    const blocker = turnOf('x', log, inbox, 'x');
    inbox.put(blocker);
    const a = turnOf('a', log, inbox);
    inbox.put(a);
    expect(inbox.withdraw(a)).toBe(true);
    const [b, c] = [turnOf('b', log, inbox), turnOf('c', log, inbox)];
    inbox.put(b);
    inbox.put(c);
    blocker.end();
    await soon();
    expect(log).toEqual(['x runs', 'x ends', 'b runs']);
    b.end();
    await soon();
    expect(log.at(-1)).toBe('c runs');
  });
});

describe('across conversations', () => {
  test('many turns run at once and the rest wait for a slot', async () => {
    const inbox = new Inbox({ maxRunning: 64 });
    const log: string[] = [];
    const turns = Array.from({ length: 70 }, (_, i) => turnOf(`${i}`, log, inbox, `c${i}`));
    for (const turn of turns) inbox.put(turn);
    expect([inbox.running, inbox.waiting]).toEqual([64, 6]);
    turns[0]!.end();
    await soon();
    expect(log.at(-1)).toBe('64 runs');
    expect([inbox.running, inbox.waiting]).toEqual([64, 5]);
  });

  test('a conversation with many waiting turns does not delay the turn of another conversation', async () => {
    const inbox = new Inbox({ maxRunning: 1 });
    const log: string[] = [];
    const turns = ['a1', 'a2', 'a3', 'b1'].map((name) => turnOf(name, log, inbox, name[0]!));
    for (const turn of turns) inbox.put(turn);
    turns[0]!.end();
    await soon();
    expect(log).toEqual(['a1 runs', 'a1 ends', 'b1 runs']);
  });

  test('a withdrawn turn does not pass its position to a later one of its conversation', async () => {
    const inbox = new Inbox({ maxRunning: 1 });
    const log: string[] = [];
    const blocker = turnOf('x', log, inbox, 'x');
    inbox.put(blocker);
    const early = turnOf('early', log, inbox, 'c');
    inbox.put(early);
    inbox.put(turnOf('other', log, inbox, 'd'));
    inbox.withdraw(early);
    inbox.put(turnOf('late', log, inbox, 'c'));
    blocker.end();
    await soon();
    expect(log).toEqual(['x runs', 'x ends', 'other runs']);
  });

  test('the total number of waiting turns is bounded', () => {
    const inbox = new Inbox({ maxRunning: 1, maxWaiting: 2 });
    for (let i = 0; i < 3; i++) inbox.put(turnOf(`${i}`, [], inbox, `c${i}`));
    expect(() => inbox.check('new', 'queue')).toThrow(expect.objectContaining({ code: 'TURN_QUEUE_FULL' }));
  });
});

describe('many conversations', () => {
  test('2,000 turns run at once, the others wait', () => {
    const inbox = new Inbox();
    for (let i = 0; i < 2_010; i++) inbox.put(turnOf(`${i}`, [], inbox, `c${i}`));
    expect([inbox.running, inbox.waiting]).toEqual([2_000, 10]);
  });

  test('turns wait while the windows of the running ones are too large together, and a turn with a too large window runs alone', async () => {
    const inbox = new Inbox({ maxRunningChars: 10 });
    const log: string[] = [];
    const [a, b, large] = [6, 5, 99].map((weight, i) => {
      const name = 'abl'[i]!;
      return Object.assign(turnOf(name, log, inbox, name), { weight });
    });
    for (const turn of [a!, b!, large!]) inbox.put(turn);
    expect(log).toEqual(['a runs']);
    a!.end();
    await soon();
    b!.end();
    await soon();
    expect(log).toEqual(['a runs', 'a ends', 'b runs', 'b ends', 'l runs']);
    expect(inbox.running).toBe(1);
  });
});
