// Random trees with failures, cancellations, deaf and unresponsive bodies, throwing callbacks and exits: however they go, every node
// ends exactly once, children before parents, nothing hangs, nothing is left.
import { ManualClock } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Commander } from './commander.ts';
import { defineHandler, defineJob } from './define.ts';
import type {
  HandlerCall,
  JobRef,
  NodeEvent,
  NodeOutcome,
  Self,
  Stage,
  TaskNode,
  WorkRef,
} from './task-node.ts';

const NUM_RUNS = 10_000;
const GRACE_MS = 10;
const FINAL = new Set(['completed', 'failed', 'cancelled']);

type Step =
  | { do: 'wait'; ticks: number }
  | { do: 'call' | 'await' | 'catch' | 'put' | 'put at root'; child: Plan }
  | { do: 'fork'; children: Plan[]; caught: boolean }
  | { do: 'terminate'; whom: 'self' | 'parent' | 'last child' }
  | { do: 'exit' };
interface Plan {
  kind: 'job' | 'handler';
  isolates: boolean;
  /** Reaction of the body to a cancellation. */
  ear: 'good' | 'deaf';
  steps: Step[];
  end: 'return' | 'throw' | 'return handler' | 'never';
  callback: { stage: Stage; how: 'throw' | 'reject' | 'wait' } | undefined;
}

const STAGES: readonly Stage[] = [
  'at_job_start',
  'at_handler_start',
  'at_exception',
  'at_terminate',
  'at_handler_end',
  'at_job_end',
  'at_commander_end',
];
const often = <T>(value: T, weight: number) => ({ arbitrary: fc.constant(value), weight });
const { plan: anyPlan } = fc.letrec<{ plan: Plan; step: Step }>((tie) => ({
  step: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    {
      arbitrary: fc.record({ do: fc.constant('wait' as const), ticks: fc.integer({ min: 0, max: 4 }) }),
      weight: 12,
    },
    { arbitrary: fc.constantFrom<Step>({ do: 'exit' }), weight: 1 },
    {
      arbitrary: fc.record({
        do: fc.constant('terminate' as const),
        whom: fc.constantFrom('self' as const, 'parent' as const, 'last child' as const),
      }),
      weight: 1,
    },
    {
      arbitrary: fc.record({
        do: fc.constantFrom(
          'call' as const,
          'await' as const,
          'catch' as const,
          'put' as const,
          'put at root' as const,
        ),
        child: tie('plan'),
      }),
      weight: 24,
    },
    {
      arbitrary: fc.record({
        do: fc.constant('fork' as const),
        children: fc.array(tie('plan'), { minLength: 1, maxLength: 3 }),
        caught: fc.boolean(),
      }),
      weight: 8,
    },
  ),
  plan: fc.record({
    kind: fc.constantFrom('job' as const, 'handler' as const),
    isolates: fc.oneof(often(false, 3), often(true, 1)),
    ear: fc.oneof(often('good' as const, 4), often('deaf' as const, 1)),
    steps: fc.array(tie('step'), { maxLength: 4 }),
    end: fc.oneof(
      often('return' as const, 6),
      often('throw' as const, 2),
      often('return handler' as const, 1),
      often('never' as const, 1),
    ),
    callback: fc.option(
      fc.record({
        stage: fc.constantFrom(...STAGES),
        how: fc.constantFrom('throw' as const, 'reject' as const, 'wait' as const),
      }),
      { nil: undefined, freq: 5 },
    ),
  }),
}));
const anyEnding = fc.constantFrom('none' as const, 'exit' as const, 'abort' as const);

/** Everything that is seen of one run. */
interface Watched {
  nodes: TaskNode[];
  outcomes: Map<TaskNode, NodeOutcome[]>;
  stages: Map<TaskNode, Stage[]>;
}

const ticks = async (count: number, self: Self, ear: Plan['ear']): Promise<void> => {
  for (let n = 0; n < count; n += 1) {
    await null;
    if (ear === 'good') self.signal.throwIfAborted();
  }
};

function refOf(plan: Plan, kind: 'job', watched: Watched): JobRef;
function refOf(plan: Plan, kind: 'handler', watched: Watched): HandlerCall;
function refOf(plan: Plan, kind: Plan['kind'], watched: Watched): WorkRef;
function refOf(plan: Plan, kind: Plan['kind'], watched: Watched): WorkRef {
  const body = async (self: Self): Promise<unknown> => {
    let last: TaskNode | undefined;
    const take = <H extends { node: TaskNode }>(handle: H, child: Plan): H => {
      last = handle.node;
      watch(handle.node, child, watched);
      return handle;
    };
    for (const step of plan.steps) {
      if (step.do === 'wait') await ticks(step.ticks, self, plan.ear);
      else if (step.do === 'exit') self.exitCommander('exit');
      else if (step.do === 'terminate') {
        const whom = {
          self: self.node,
          parent: self.node.parent ?? self.node,
          'last child': last ?? self.node,
        };
        await whom[step.whom].terminate();
      } else if (step.do === 'fork') {
        const branches = Object.fromEntries(
          step.children.map((child, n) => [`b${n}`, refOf(child, 'handler', watched)]),
        );
        const join = self.fork(branches);
        if (step.caught) await join.catch(() => {});
        else await join;
      } else if (step.do === 'put') take(self.putJob(refOf(step.child, 'job', watched)), step.child);
      else if (step.do === 'put at root') {
        take(self.putJob(refOf(step.child, 'job', watched), { parent: self.commander.root }), step.child);
      } else {
        const handle = take(self.call(refOf(step.child, 'handler', watched)), step.child);
        if (step.do === 'await') await handle;
        if (step.do === 'catch') await handle.then(undefined, () => {});
      }
    }
    await ticks(1, self, plan.ear);
    if (plan.end === 'throw') throw new Error('planned');
    if (plan.end === 'return handler' && kind === 'job')
      return refOf({ ...plan, steps: [], end: 'return' }, 'handler', watched);
    if (plan.end === 'never') {
      if (plan.ear === 'deaf') return new Promise(() => {});
      return new Promise((_resolve, reject) => {
        if (self.signal.aborted) reject(self.signal.reason as Error);
        self.signal.addEventListener('abort', () => reject(self.signal.reason as Error), { once: true });
      });
    }
    return 'value';
  };
  const errors = plan.isolates ? 'isolate' : 'fail-fast';
  return kind === 'job'
    ? defineJob(plan.kind, body, { errors })(undefined)
    : defineHandler('handler', body, { errors })();
}

function watch(node: TaskNode, plan: Plan | undefined, watched: Watched): void {
  watched.nodes.push(node);
  const stages: Stage[] = [];
  watched.stages.set(node, stages);
  for (const stage of STAGES) if (stage !== 'at_commander_end') node.on(stage, () => void stages.push(stage));
  void node.settled.then((outcome) => {
    watched.outcomes.set(node, [...(watched.outcomes.get(node) ?? []), outcome]);
  });
  const callback = plan?.callback;
  if (!callback) return;
  node.on(callback.stage, () => {
    if (callback.how === 'throw') throw new Error(`planned ${callback.stage}`);
    if (callback.how === 'reject') return Promise.reject(new Error(`planned ${callback.stage}`));
    return Promise.resolve();
  });
}

const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const LEGAL = [
  /^$/,
  /^start$/,
  /^(start )?terminate( exception)?$/,
  /^start end( exception)?$/,
  /^start exception( end)?$/,
];

async function runOnce(
  plans: readonly Plan[],
  ending: 'none' | 'exit' | 'abort',
  when: number,
): Promise<void> {
  const clock = new ManualClock(0);
  const one = new Commander({ clock, graceMs: GRACE_MS, slowJobMs: Infinity, maxNodes: 500 });
  const watched: Watched = { nodes: [], outcomes: new Map(), stages: new Map() };
  const events: NodeEvent[] = [];
  const reading = (async () => {
    for await (const event of one.events) events.push(event);
  })();
  const controller = new AbortController();
  let settled = false;
  const done = one.run([], { signal: controller.signal }).then(
    () => {
      settled = true;
    },
    () => {
      settled = true;
    },
  );
  for (const plan of plans) {
    if (!one.running) break;
    watch(one.submit(refOf(plan, 'job', watched)).node, plan, watched);
  }
  for (let n = 0; n < when; n += 1) await null;
  if (ending === 'abort') controller.abort(new Error('outside'));
  if (ending === 'exit') one.requestExit('outside');
  // Bodies that never end by themselves are ended here; then nothing may take longer than the grace times.
  for (let round = 0; !settled && round < 60; round += 1) {
    await macrotask();
    clock.advance(GRACE_MS);
    if (round === 3) one.requestExit('late');
  }
  expect(settled, 'the run hangs').toBe(true);
  await done;
  await reading;
  await macrotask();

  expect(one.liveNodes).toBe(0);
  expect(one.isEmpty()).toBe(true);
  expect(clock.timerCount).toBe(0);
  const finals = new Map<string, number>();
  const seen = new Set<string>();
  events.forEach((event, at) => {
    if (event.type !== 'state') return;
    seen.add(event.id);
    if (!FINAL.has(event.state)) return;
    if (finals.has(event.id)) expect.fail(`${event.id} has two final states`);
    finals.set(event.id, at);
  });
  for (const id of seen) {
    const at = finals.get(id);
    if (at === undefined) return expect.fail(`${id} never ended`);
    const parent = finals.get(id.split('.').slice(0, -1).join('.'));
    if (parent !== undefined && parent < at) expect.fail(`${id} ended after its parent`);
  }
  for (const node of watched.nodes) {
    const outcomes = watched.outcomes.get(node) ?? [];
    expect(outcomes.map((outcome) => outcome.status)).toEqual([node.state]);
    const stages = watched.stages.get(node)!.map((stage) => stage.replace(/^at_(job_|handler_)?/, ''));
    const text = stages.join(' ');
    if (!LEGAL.some((pattern) => pattern.test(text))) expect.fail(`${node.id} ${node.state}: ${text}`);
  }
}

describe('task tree properties', () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown): void => void unhandled.push(error);
  beforeAll(() => void process.on('unhandledRejection', onUnhandled));
  afterAll(() => void process.off('unhandledRejection', onUnhandled));

  it('B3 every node reaches exactly one final state, bottom-up, and nothing hangs or is left', {
    timeout: 120_000,
  }, async () => {
    const plans = fc.array(anyPlan, { minLength: 1, maxLength: 3 });
    await fc.assert(fc.asyncProperty(plans, anyEnding, fc.integer({ min: 0, max: 40 }), runOnce), {
      numRuns: NUM_RUNS,
    });
    expect(unhandled).toEqual([]);
  });
});
