import { pause } from '@fame-fabric/shared/internal';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Commander, type CommanderOptions } from './commander.ts';
import { defineHandler, defineJob } from './define.ts';
import { type JobRef, type Self, STAGES, type TaskNode } from './task-node.ts';

let clock: ManualClock;
let log: string[];
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);

beforeEach(() => {
  clock = new ManualClock(0);
  log = [];
  process.on('unhandledRejection', onUnhandled);
});
afterEach(async () => {
  await new Promise((next) => setImmediate(next));
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled.splice(0)).toEqual([]);
  expect(clock.timerCount).toBe(0);
});

const commander = (options: CommanderOptions = {}): Commander =>
  new Commander({ clock, slowJobMs: Infinity, ...options });
const note = (text: string): void => void log.push(`${text}@${clock.now()}`);
const macrotask = (): Promise<void> => new Promise((next) => setImmediate(next));

/** Advances the clock in steps, and runs the code that follows from each. */
async function elapse(ms: number): Promise<void> {
  await macrotask();
  for (const end = clock.now() + ms; clock.now() < end; ) {
    clock.advance(Math.min(10, end - clock.now()));
    await macrotask();
  }
}

/** A handler that takes `ms` and logs its start and end. */
const takes = defineHandler('takes', async (self, name: string, ms: number) => {
  note(`${name} starts`);
  await pause(clock, ms, self.signal);
  note(`${name} ends`);
  return name;
});
const throws = defineHandler('throws', async (self, ms: number, error: unknown) => {
  await pause(clock, ms, self.signal);
  throw error;
});
const never = defineHandler('never', (self) => pause(clock, 1e9, self.signal));
const unresponsive = defineHandler('unresponsive', () => new Promise<void>(() => {}));
const job = (name: string, body: (self: Self) => unknown, options = {}): JobRef =>
  defineJob<void, unknown>(name, body, options)();

/** Records the stages that a node passes. */
function record(node: TaskNode, into: string[] = []): string[] {
  for (const stage of STAGES) if (stage !== 'at_commander_end') node.on(stage, () => void into.push(stage));
  return into;
}

describe('Commander', () => {
  it('AG-1 a parent ends once, after its handlers and its job have ended', async () => {
    const child = job('C', () => note('C'));
    const parent = job('parent', (self) => {
      self.node.on('at_job_end', () => note('parent end'));
      self.call(takes('A', 300)).node.on('at_handler_end', () => note('A end'));
      self.call(takes('B', 100)).node.on('at_handler_end', () => note('B end'));
      self.putJob(child).node.on('at_job_end', () => note('C end'));
    });
    const done = commander().run(parent, { autoExit: true });
    await elapse(400);
    await done;
    expect(log).toEqual([
      'A starts@0',
      'B starts@0',
      'C@0',
      'C end@0',
      'B ends@100',
      'B end@100',
      'A ends@300',
      'A end@300',
      'parent end@300',
    ]);
  });

  it('AG-3 an error cancels the sibling and reaches run()', async () => {
    const error = new Error('B broke');
    let a: TaskNode | undefined;
    let b: TaskNode | undefined;
    let parent: TaskNode | undefined;
    const done = commander().run(
      job('parent', (self) => {
        parent = self.node;
        a = self.call(never()).node;
        b = self.call(throws(50, error)).node;
      }),
    );
    const failed = expect(done).rejects.toBe(error);
    await elapse(60);
    await failed;
    expect(clock.now()).toBeLessThan(300);
    expect(a?.state).toBe('cancelled');
    expect(a?.signal.reason).toMatchObject({ code: 'ABORTED', cause: error });
    expect(b?.state).toBe('failed');
    expect(parent).toMatchObject({ state: 'failed', error });
    expect(await a?.settled).toMatchObject({ status: 'cancelled', reason: { cause: error } });
  });

  it('AG-3 a fork cancels its other branches and throws the first error once they have ended', async () => {
    const error = new Error('B broke');
    const done = commander().run(
      job('parent', (self) => {
        const work = defineHandler('work', async (inner) => {
          try {
            await inner.fork({ a: takes('A', 300), b: throws(50, error) });
          } catch (caught) {
            note(`caught ${(caught as Error).message}`);
            return inner.node.children.map((child) => child.state).join();
          }
          return 'not reached';
        });
        return self.call(work());
      }),
      { autoExit: true },
    );
    await elapse(60);
    await done;
    expect(log).toEqual(['A starts@0', 'caught B broke@50']);
  });

  it('AG-4 under isolate the sibling and the parent complete, and the error stays on its node', async () => {
    const error = new Error('B broke');
    const nodes: TaskNode[] = [];
    let stages: string[] = [];
    const parent = job('parent', (self) => {
      const a = self.call(takes('A', 100)).node;
      const b = self.call(throws(50, error)).node;
      stages = record(b);
      nodes.push(self.node, a, b);
    });
    for (const run of [
      () => commander({ errors: 'isolate' }).run(parent, { autoExit: true }),
      () =>
        commander().run(
          job('outer', (self) => void self.putJob(job('parent', parent.work.body, { errors: 'isolate' }))),
          { autoExit: true },
        ),
    ]) {
      nodes.length = 0;
      const done = run();
      await elapse(110);
      await done;
      expect(nodes.map((node) => node.state)).toEqual(['completed', 'completed', 'failed']);
      expect(nodes[2]?.error).toBe(error);
      expect(stages).toEqual(['at_handler_start', 'at_exception', 'at_handler_end']);
    }
  });

  it('AG-4 under isolate a fork continues, and the result of the failed branch is undefined', async () => {
    let joined: unknown;
    const body = defineHandler('body', async (self) => {
      joined = await self.fork({ a: takes('A', 100), b: throws(50, new Error('B broke')) });
    });
    const done = commander({ errors: 'isolate' }).run(
      job('parent', () => body()),
      { autoExit: true },
    );
    await elapse(110);
    await done;
    expect(joined).toEqual({ a: 'A', b: undefined });
  });

  it('AG-5 of two errors in one tick the first fails the parent and the second is kept', async () => {
    const [first, second] = [new Error('first'), new Error('second')];
    const both = [throws(50, first), throws(50, second)] as const;
    const bodies: ((self: Self) => unknown)[] = [
      (self) => void both.map((one) => self.call(one)),
      (self) => self.call(defineHandler('forks', (inner) => inner.fork({ a: both[0], b: both[1] }))()),
    ];
    for (const body of bodies) {
      let parent: TaskNode | undefined;
      const done = commander().run(
        job('parent', (self) => {
          parent = self.node;
          return body(self);
        }),
      );
      const failed = expect(done).rejects.toBe(first);
      await elapse(60);
      await failed;
      expect(parent?.error).toBe(first);
      const suppressed = [parent!, ...parent!.children].flatMap((node) => node.suppressed);
      expect(suppressed).toEqual([second]);
    }
  });

  it('AG-6 jobs run one after the other, handlers side by side', async () => {
    const slow = (name: string, ms: number) =>
      job(name, async (self) => {
        self.node.on('at_job_end', () => note(`${name} end`));
        note(`${name} start`);
        await pause(clock, ms, self.signal);
      });
    const done = commander().run([slow('1', 200), slow('2', 10)], { autoExit: true });
    await elapse(220);
    await done;
    expect(log).toEqual(['1 start@0', '1 end@200', '2 start@200', '2 end@210']);

    log = [];
    const start = clock.now();
    const handlers = commander().run(
      job('both', (self) => {
        self.call(takes('a', 20));
        self.call(takes('b', 10));
      }),
      { autoExit: true },
    );
    await elapse(30);
    await handlers;
    expect(log.map((line) => line.replace(/@.*/, ''))).toEqual(['a starts', 'b starts', 'b ends', 'a ends']);
    expect(clock.now() - start).toBeLessThan(40);
  });

  it('AG-7 jobs of different nodes run in the order in which they were put', async () => {
    const puts = (name: string, ms: number) =>
      defineHandler(name, async (self) => {
        await pause(clock, ms, self.signal);
        self.putJob(job(`${name}1`, () => note(`${name}1`)));
        await pause(clock, 20, self.signal);
        self.putJob(job(`${name}2`, () => note(`${name}2`)));
      })();
    const done = commander().run(
      job('root job', (self) => {
        self.call(puts('x', 20));
        self.call(puts('y', 10));
      }),
      { autoExit: true },
    );
    await elapse(50);
    await done;
    expect(log).toEqual(['y1@10', 'x1@20', 'y2@30', 'x2@40']);
  });

  it('AG-8 a job under another parent delays that parent, not the node that put it', async () => {
    const late = job('late', (self) => {
      self.node.on('at_job_end', () => note('late end'));
      return takes('late work', 50);
    });
    const done = commander().run(
      job('first', (self) => {
        self.node.on('at_job_end', () => note('first end'));
        self.putJob(late, { parent: self.commander.root });
      }),
      { autoExit: true },
    );
    let over = false;
    void done.then(() => {
      over = true;
    });
    await elapse(40);
    expect(log).toEqual(['first end@0', 'late work starts@0']);
    expect(over).toBe(false);
    await elapse(20);
    await done;
    expect(log.at(-1)).toBe('late end@50');
  });

  it('AG-9 a settled node accepts no more work, and its end callback has run once', async () => {
    let kept: Self | undefined;
    let ends = 0;
    const one = commander();
    const done = one.run(
      job('first', (self) => {
        kept = self;
        self.node.on('at_job_end', () => {
          ends += 1;
          expect(() => self.putJob(job('in the end callback', () => {}))).toThrow(/parent: commander\.root/);
        });
      }),
    );
    await macrotask();
    expect(kept?.node.state).toBe('completed');
    expect(() => kept?.putJob(job('late', () => {}))).toThrow(
      expect.objectContaining({ code: 'NODE_SETTLED' }),
    );
    expect(() => kept?.call(never())).toThrow(expect.objectContaining({ code: 'NODE_SETTLED' }));
    await one.exit();
    await done;
    expect(ends).toBe(1);
  });

  it('AG-10 completing, failing and terminated nodes pass exactly their stages', async () => {
    const one = commander({ errors: 'isolate' });
    const stages: Record<string, string[]> = {};
    const end: string[] = [];
    one.root.on('at_commander_end', () => void end.push('root first'));
    const done = one.run(
      job('parent', (self) => {
        self.node.on('at_commander_end', () => void end.push('parent second'));
        const handler = (name: string, body: (inner: Self) => unknown) => {
          const { node } = self.call(defineHandler(name, body)());
          stages[name] = record(node);
          return node;
        };
        handler('completes', () => 1);
        handler('fails', () => {
          throw new Error('x');
        });
        const stays = handler('stays', (inner) => pause(clock, 1e9, inner.signal));
        handler('terminates', () => stays.terminate());
        stages['job that completes'] = record(self.putJob(job('ok', () => 2)).node);
        stages['job that fails'] = record(self.putJob(job('bad', () => Promise.reject(new Error('y')))).node);
      }),
      { autoExit: true },
    );
    one.root.on('at_commander_end', () => void end.push('root third'));
    await elapse(10);
    await done;
    expect(stages).toEqual({
      completes: ['at_handler_start', 'at_handler_end'],
      fails: ['at_handler_start', 'at_exception', 'at_handler_end'],
      stays: ['at_handler_start', 'at_terminate'],
      terminates: ['at_handler_start', 'at_handler_end'],
      'job that completes': ['at_job_start', 'at_job_end'],
      'job that fails': ['at_job_start', 'at_exception', 'at_job_end'],
    });
    expect(end).toEqual(['root first', 'root third', 'parent second']);
  });

  it('AG-10 end callbacks see the final state, and terminate callbacks run from the leaves up', async () => {
    const seen: string[] = [];
    const deep = (name: string, levels: number): ReturnType<typeof never> =>
      defineHandler(name, async (self) => {
        self.node.on('at_terminate', (event) => void seen.push(`${name} ${event.node.state}`));
        if (levels > 0) self.call(deep(`${name}.${levels}`, levels - 1));
        await pause(clock, 1e9, self.signal);
      })();
    const one = commander();
    const done = one.run(
      job('top', (self) => {
        self.node.on('at_job_end', (event) => void seen.push(`top ${event.node.state}`));
        const { node } = self.call(deep('d', 2));
        self.call(
          defineHandler('kills', async (inner) => {
            await pause(clock, 10, inner.signal);
            await node.terminate();
            seen.push('terminated');
          })(),
        );
      }),
      { autoExit: true },
    );
    await elapse(20);
    await done;
    expect(seen).toEqual(['d.2.1 cancelled', 'd.2 cancelled', 'd cancelled', 'terminated', 'top completed']);
  });

  for (const stage of STAGES) {
    it(`AG-11 an error thrown ${stage} makes run() reject`, async () => {
      for (const kind of ['throws', 'rejects']) {
        const error = new Error(stage);
        const callback = () => {
          if (kind === 'throws') throw error;
          return Promise.reject(error);
        };
        const bodies: Record<string, (self: Self) => unknown> = {
          at_exception: () => {
            throw new Error('body');
          },
          at_terminate: (self) => self.node.terminate(),
        };
        const target = job('target', bodies[stage] ?? (() => {}));
        const handler = defineHandler('handler', async () => {});
        const done = commander().run(
          job('outer', (self) => {
            const { node } = stage.includes('handler') ? self.call(handler()) : self.putJob(target);
            node.on(stage, callback);
          }),
          { autoExit: true },
        );
        if (stage === 'at_exception') await expect(done).rejects.toThrow('body');
        else await expect(done).rejects.toBe(error);
      }
    });
  }

  it('AG-12 autoExit waits for work that an end callback put last', async () => {
    const one = commander();
    const done = one.run(
      job('first', (self) => {
        self.node.on('at_job_end', async (event) => {
          await pause(clock, 20, event.node.signal);
          event.commander.submit(job('second', () => takes('second', 30)));
        });
      }),
      { autoExit: true },
    );
    await elapse(60);
    expect(await done).toBeUndefined();
    expect(log).toEqual(['second starts@20', 'second ends@50']);
    expect(one.isEmpty()).toBe(true);
    expect(one.running).toBe(false);
  });

  it('AG-13 an exit from inside cancels the rest and returns its value; AG-14 the commander runs again', async () => {
    let ended = false;
    const live = defineHandler('live', async (self) => {
      try {
        await pause(clock, 1e9, self.signal);
      } finally {
        ended = self.signal.aborted;
      }
    });
    const ran = vi.fn();
    const one = commander();
    const done = one.run(
      job('first', async (self) => {
        self.call(live());
        self.putJob(job('queued', ran));
        self.call(
          defineHandler('leaves', async (inner) => {
            await pause(clock, 10, inner.signal);
            inner.exitCommander('bye');
          })(),
        );
        await pause(clock, 1e9, self.signal);
      }),
    );
    await elapse(20);
    expect(await done).toBe('bye');
    expect(ended).toBe(true);
    expect(ran).not.toHaveBeenCalled();
    expect(one.exitReport.discarded).toMatchObject([{ kind: 'job', name: 'queued' }]);
    expect(one.exitReport.cancelled.map(({ name }) => name)).toEqual(['first', 'live', 'leaves']);

    const again = vi.fn();
    expect(await one.run(job('again', again), { autoExit: true })).toBeUndefined();
    expect(again).toHaveBeenCalledOnce();
    expect(one.exitReport).toEqual({ cancelled: [], discarded: [], unresponsive: [] });
  });

  it('AG-13 exit() from outside waits and reports; from inside it refuses', async () => {
    const one = commander();
    let refused: unknown;
    const done = one.run(
      job('first', (self) => {
        self.call(never());
        return defineHandler('inside', async () => {
          await one.exit().catch((error: unknown) => {
            refused = error;
          });
          await expect(one.waitForExit()).rejects.toMatchObject({ code: 'WOULD_DEADLOCK' });
        })();
      }),
    );
    await macrotask();
    expect(refused).toMatchObject({ code: 'WOULD_DEADLOCK' });
    const waiting = one.waitForExit();
    const report = await one.exit('value');
    expect(report).toMatchObject({
      cancelled: [{ name: 'first' }, { name: 'never' }],
      discarded: [],
      unresponsive: [],
    });
    expect(await done).toBe('value');
    expect(await waiting).toBe('value');
    expect(await one.exit()).toEqual({ cancelled: [], discarded: [], unresponsive: [] });
  });

  it('AG-14 the commander runs again after a failure, without any node of the failed run', async () => {
    const one = commander();
    await expect(one.run(job('bad', () => Promise.reject(new Error('x'))))).rejects.toThrow('x');
    expect(await one.run([], { autoExit: true })).toBeUndefined();
    expect(await one.runAuto(job('ok', () => 1))).toEqual({ started: true });
    expect(one.root.state).toBe('completed');
  });

  it('AG-15 refuses a second run, and refuses work while it is not running', async () => {
    const one = commander();
    expect(() => one.submit(job('x', () => {}))).toThrow(
      expect.objectContaining({ code: 'COMMANDER_STOPPED' }),
    );
    expect(() => one.call(never())).toThrow(expect.objectContaining({ code: 'COMMANDER_STOPPED' }));
    const ran = vi.fn();
    const done = one.run();
    await expect(one.run()).rejects.toMatchObject({ code: 'COMMANDER_RUNNING' });
    expect(await one.runAuto(job('handed over', ran))).toEqual({ started: false });
    await macrotask();
    expect(ran).toHaveBeenCalledOnce();
    await one.exit();
    await done;
    expect(() => one.submit(job('x', () => {}))).toThrow(
      expect.objectContaining({ code: 'COMMANDER_STOPPED' }),
    );
  });

  it('AG-16 a terminated handler stops at its next await and accepts no more work, and the rest continues', async () => {
    let cancelled: TaskNode | undefined;
    let refused: unknown;
    let kept: Self | undefined;
    const victim = defineHandler('victim', async (self) => {
      kept = self;
      try {
        await pause(clock, 100, self.signal);
        note('not reached');
      } catch (error) {
        try {
          self.putJob(job('too late', () => {}));
        } catch (late) {
          refused = late;
        }
        throw error;
      }
    });
    const done = commander().run(
      job('parent', (self) => {
        cancelled = self.call(victim()).node;
        self.call(takes('sibling', 50));
        self.call(
          defineHandler('kills', async (inner) => {
            await pause(clock, 20, inner.signal);
            const report = await cancelled!.terminate('enough');
            note(`terminated ${report.unresponsive.length}`);
          })(),
        );
      }),
      { autoExit: true },
    );
    await elapse(60);
    await done;
    expect(log).toEqual(['sibling starts@0', 'terminated 0@20', 'sibling ends@50']);
    expect(cancelled?.state).toBe('cancelled');
    expect(await cancelled?.settled).toEqual({ status: 'cancelled', reason: 'enough' });
    expect(refused).toMatchObject({ code: 'NODE_SETTLED' });
    expect(kept?.node.find('job')?.name).toBe('parent');
    expect(kept?.node.find('parent')?.children.map((child) => child.state)).toEqual([
      'cancelled',
      'completed',
      'completed',
    ]);
  });

  it('AG-17 terminate waits for the grace time of an unresponsive body and reports it', async () => {
    const logger = new CaptureLog();
    const one = commander({ graceMs: 500, logger });
    const events: string[] = [];
    const reading = (async () => {
      for await (const event of one.events) if (event.type === 'unresponsive') events.push(event.name);
    })();
    let inner: TaskNode | undefined;
    const done = one.run(
      job('parent', (self) => {
        inner = self.call(unresponsive()).node;
      }),
    );
    await macrotask();
    const terminated = inner!.terminate();
    await elapse(490);
    expect(inner?.state).toBe('active');
    await elapse(20);
    expect(await terminated).toEqual({
      unresponsive: [{ id: '1.1.1', kind: 'handler', name: 'unresponsive' }],
    });
    expect(inner?.state).toBe('cancelled');
    expect(logger.messages('warn')).toEqual(['a node did not stop in its grace time']);
    await one.exit();
    await done;
    await reading;
    expect(events).toEqual(['unresponsive']);
  });

  it('AG-17 an exit waits no longer than the grace time for bodies and callbacks that never end', async () => {
    const one = commander({ graceMs: 100 });
    const done = one.run(
      job('parent', (self) => {
        self.node.on('at_job_end', () => new Promise(() => {}));
      }),
    );
    await macrotask();
    one.call(unresponsive());
    await macrotask();
    const left = one.exit('out');
    await elapse(110);
    expect((await left).unresponsive.map(({ name }) => name)).toEqual(['parent', 'unresponsive']);
    expect(await done).toBe('out');
  });

  it('AG-18 the signal of run() and that of the commander cancel everything, with their reason', async () => {
    const reason = new Error('the user left');
    for (const which of ['run', 'commander']) {
      const controller = new AbortController();
      const one = commander(which === 'commander' ? { signal: controller.signal } : {});
      let node: TaskNode | undefined;
      const done = one.run(
        job('parent', (self) => {
          node = self.call(never()).node;
        }),
        which === 'run' ? { signal: controller.signal } : {},
      );
      const failed = expect(done).rejects.toBe(reason);
      await macrotask();
      controller.abort(reason);
      await failed;
      expect(node).toMatchObject({ state: 'cancelled' });
      expect(node?.signal.reason).toBe(reason);
      const ran = vi.fn();
      const signal = AbortSignal.abort('too late');
      await expect(commander().run(job('x', ran), { signal })).rejects.toBe('too late');
      expect(ran).not.toHaveBeenCalled();
    }
  });

  it('AG-19 a job that returns a handler has the result of the handler', async () => {
    const one = commander();
    const done = one.run();
    const handle = one.submit(defineJob<void, string>('parent', () => takes('value', 10))());
    await elapse(20);
    expect(await handle).toBe('value');
    expect(handle.node.result).toBe('value');
    await one.exit();
    await done;
  });

  it('AG-20 awaiting a handler returns its value or throws its error, which then propagates no further', async () => {
    const error = new Error('caught');
    let got: unknown[] = [];
    const body = defineHandler('body', async (self) => {
      const value = await self.call(takes('value', 10));
      const caught = await self.call(throws(10, error)).then(undefined, (thrown: unknown) => thrown);
      got = [value, caught];
    });
    const done = commander().run(
      job('parent', () => body()),
      { autoExit: true },
    );
    await elapse(30);
    await done;
    expect(got).toEqual(['value', error]);
  });

  it('AG-20 an awaited and uncaught error fails the awaiting node', async () => {
    const error = new Error('not caught');
    const body = defineHandler('body', async (self) => {
      await self.call(throws(0, error));
    });
    const done = commander().run(job('parent', () => body()));
    const failed = expect(done).rejects.toBe(error);
    await elapse(10);
    await failed;
  });

  it('fails a handler that exceeds its timeout', async () => {
    const slow = defineHandler('slow', (self) => pause(clock, 1_000, self.signal), { timeoutMs: 50 });
    const done = commander().run(job('parent', () => slow()));
    const failed = expect(done).rejects.toMatchObject({ code: 'NODE_TIMEOUT' });
    await elapse(60);
    await failed;
    expect(clock.now()).toBeLessThan(100);
  });

  it('ends a run that exceeds its node limit or depth limit, with the path', async () => {
    const ring: () => JobRef = () => job('again', (self) => void self.commander.submit(ring()));
    await expect(commander({ maxNodes: 50 }).run(ring())).rejects.toMatchObject({ code: 'WORKFLOW_LIMIT' });
    const deep: () => JobRef = () => job('deeper', (self) => void self.putJob(deep()));
    await expect(commander({ maxDepth: 3 }).run(deep())).rejects.toMatchObject({
      code: 'WORKFLOW_LIMIT',
      details: { maxDepth: 3, path: ['commander', 'deeper', 'deeper', 'deeper'] },
    });
    await expect(commander({ maxDepth: 1e6 }).run(deep())).rejects.toMatchObject({
      code: 'WORKFLOW_LIMIT',
      details: { maxDepth: 1_000 },
    });
    const wide = job('wide', (self) => {
      for (let n = 0; n <= 10_000; n += 1) self.putJob(job('one of many', () => {}));
    });
    await expect(commander().run(wide)).rejects.toMatchObject({
      code: 'WORKFLOW_LIMIT',
      details: { maxNodes: 10_000 },
    });
  });

  it('AG-26 reports a job that holds the queue, once', async () => {
    const logger = new CaptureLog();
    const one = commander({ slowJobMs: 100, logger });
    const events: unknown[] = [];
    const reading = (async () => {
      for await (const event of one.events) if (event.type === 'slow_job') events.push(event);
    })();
    const done = one.run([job('slow', (self) => pause(clock, 300, self.signal)), job('quick', () => {})], {
      autoExit: true,
    });
    await elapse(310);
    await done;
    await reading;
    expect(events).toEqual([{ type: 'slow_job', ms: 100, id: '1.1', kind: 'job', name: 'slow' }]);
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { job: 'slow', ms: 100 } }]);
  });

  it('HD11: measures the time of a job though the clock is set', async () => {
    const one = commander();
    const slow = job('slow', (self) => pause(clock, 300, self.signal));
    const done = one.run([slow], { autoExit: true });
    await elapse(100);
    clock.stepWall(-86_400_000);
    await elapse(210);
    await done;
    expect(one.root.elapsedMs).toBeGreaterThanOrEqual(300);
    expect(one.root.elapsedMs).toBeLessThan(400);
  });

  it('emits every state change to every reader of its events', async () => {
    const one = commander();
    const read = async () => {
      const states: string[] = [];
      for await (const event of one.events)
        if (event.type === 'state') states.push(`${event.id} ${event.state}`);
      return states;
    };
    const readers = [read(), read()];
    const quick = defineHandler('quick', () => 1);
    await one.run(
      job('parent', () => quick()),
      { autoExit: true },
    );
    for (const states of await Promise.all(readers)) {
      expect(states).toEqual([
        '1 active',
        '1.1 queued',
        '1.1 active',
        '1.1.1 active',
        '1.1.1 completed',
        '1.1 completed',
        '1 completed',
      ]);
    }
  });

  it('runs callbacks that were set on a job or a handler before it was put, on each of its nodes', async () => {
    const quick = defineHandler('quick', () => 1)().on('at_handler_start', () => note('handler starts'));
    const seen: unknown[] = [];
    const twice = job('child', () => quick)
      .on('at_job_start', () => note('starts'))
      .on('at_job_end', ({ node, result }) => void seen.push(node.id, result))
      .on('at_commander_end', ({ node }) => note(`run ends after ${node.id}`));
    const parent = job('parent', (self) => {
      self.putJob(twice).node.on('at_job_end', () => note('node ends'));
      self.putJob(twice);
    });
    await commander().run(parent, { autoExit: true });
    expect(seen).toEqual(['1.1.1', 1, '1.1.2', 1]);
    expect(log.map((line) => line.split('@')[0])).toEqual([
      'starts',
      'handler starts',
      'node ends',
      'starts',
      'handler starts',
      'run ends after 1.1.1',
      'run ends after 1.1.2',
    ]);
  });

  it('fails the node when a callback throws that was set on its job', async () => {
    const failing = job('failing', () => 1).on('at_job_end', () => {
      throw new Error('callback');
    });
    await expect(commander().run(failing, { autoExit: true })).rejects.toThrow('callback');
  });

  it('cancels its tree when it is disposed', async () => {
    let node: TaskNode | undefined;
    let done: Promise<unknown> | undefined;
    {
      await using one = commander();
      done = one.run(
        job('parent', (self) => {
          node = self.call(never()).node;
        }),
      );
      await macrotask();
    }
    expect(node?.state).toBe('cancelled');
    await done;
  });
});
