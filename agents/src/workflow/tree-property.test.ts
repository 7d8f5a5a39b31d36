// Random trees with failures, cancellations, unresponsive bodies, throwing callbacks and exits. In every run each node ends exactly
// once, children end before parents, and nothing hangs or remains.
import { ManualClock } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Commander } from './commander.ts';
import { defineHandler, defineJob } from './define.ts';
import {
  type HandlerCall,
  type JobRef,
  type NodeEvent,
  type NodeOutcome,
  type Self,
  STAGES,
  type Stage,
  type TaskNode,
  type WorkRef,
} from './task-node.ts';

const NUM_RUNS = 10_000;
const GRACE_MS = 10;
const FINAL = new Set(['completed', 'failed', 'cancelled']);

type Step =
  | { do: 'wait'; ticks: number }
  | { do: 'call' | 'await' | 'catch' | 'put' | 'put at root'; child: Plan }
  | { do: 'fork'; children: Plan[]; caught: boolean }
  | { do: 'terminate'; target: 'self' | 'parent' | 'last child' }
  | { do: 'exit' };
interface Plan {
  kind: 'job' | 'handler';
  isolates: boolean;
  /** Reaction of the body to a cancellation. */
  onAbort: 'stop' | 'ignore';
  steps: Step[];
  end: 'return' | 'throw' | 'return handler' | 'never';
  callback: { stage: Stage; how: 'throw' | 'reject' | 'wait' } | undefined;
}

const weighted = <T>(value: T, weight: number) => ({ arbitrary: fc.constant(value), weight });
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
        target: fc.constantFrom('self' as const, 'parent' as const, 'last child' as const),
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
    isolates: fc.oneof(weighted(false, 3), weighted(true, 1)),
    onAbort: fc.oneof(weighted('stop' as const, 4), weighted('ignore' as const, 1)),
    steps: fc.array(tie('step'), { maxLength: 4 }),
    end: fc.oneof(
      weighted('return' as const, 6),
      weighted('throw' as const, 2),
      weighted('return handler' as const, 1),
      weighted('never' as const, 1),
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

/** Observations of one run. */
interface Observed {
  nodes: TaskNode[];
  outcomes: Map<TaskNode, NodeOutcome[]>;
  stages: Map<TaskNode, Stage[]>;
}

const ticks = async (count: number, self: Self, onAbort: Plan['onAbort']): Promise<void> => {
  for (let n = 0; n < count; n += 1) {
    await null;
    if (onAbort === 'stop') self.signal.throwIfAborted();
  }
};

function refOf(plan: Plan, kind: 'job', observed: Observed): JobRef;
function refOf(plan: Plan, kind: 'handler', observed: Observed): HandlerCall;
function refOf(plan: Plan, kind: Plan['kind'], observed: Observed): WorkRef;
function refOf(plan: Plan, kind: Plan['kind'], observed: Observed): WorkRef {
  const body = async (self: Self): Promise<unknown> => {
    let last: TaskNode | undefined;
    const take = <H extends { node: TaskNode }>(handle: H, child: Plan): H => {
      last = handle.node;
      observe(handle.node, child, observed);
      return handle;
    };
    for (const step of plan.steps) {
      if (step.do === 'wait') await ticks(step.ticks, self, plan.onAbort);
      else if (step.do === 'exit') self.exitCommander('exit');
      else if (step.do === 'terminate') {
        const target = {
          self: self.node,
          parent: self.node.parent ?? self.node,
          'last child': last ?? self.node,
        };
        await target[step.target].terminate();
      } else if (step.do === 'fork') {
        const branches = Object.fromEntries(
          step.children.map((child, n) => [`b${n}`, refOf(child, 'handler', observed)]),
        );
        const join = self.fork(branches);
        if (step.caught) await join.catch(() => {});
        else await join;
      } else if (step.do === 'put') take(self.putJob(refOf(step.child, 'job', observed)), step.child);
      else if (step.do === 'put at root') {
        take(self.putJob(refOf(step.child, 'job', observed), { parent: self.commander.root }), step.child);
      } else {
        const handle = take(self.call(refOf(step.child, 'handler', observed)), step.child);
        if (step.do === 'await') await handle;
        if (step.do === 'catch') await handle.then(undefined, () => {});
      }
    }
    await ticks(1, self, plan.onAbort);
    if (plan.end === 'throw') throw new Error('planned');
    if (plan.end === 'return handler' && kind === 'job')
      return refOf({ ...plan, steps: [], end: 'return' }, 'handler', observed);
    if (plan.end === 'never') {
      if (plan.onAbort === 'ignore') return new Promise(() => {});
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

function observe(node: TaskNode, plan: Plan | undefined, observed: Observed): void {
  observed.nodes.push(node);
  const stages: Stage[] = [];
  observed.stages.set(node, stages);
  for (const stage of STAGES) if (stage !== 'at_commander_end') node.on(stage, () => void stages.push(stage));
  void node.settled.then((outcome) => {
    observed.outcomes.set(node, [...(observed.outcomes.get(node) ?? []), outcome]);
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
const ALLOWED_STAGES = [
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
  const observed: Observed = { nodes: [], outcomes: new Map(), stages: new Map() };
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
    observe(one.submit(refOf(plan, 'job', observed)).node, plan, observed);
  }
  for (let n = 0; n < when; n += 1) await null;
  if (ending === 'abort') controller.abort(new Error('outside'));
  if (ending === 'exit') one.requestExit('outside');
  // Exit after three rounds, because some bodies never end by themselves. After that, only grace times may pass.
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
  for (const node of observed.nodes) {
    const outcomes = observed.outcomes.get(node) ?? [];
    expect(outcomes.map((outcome) => outcome.status)).toEqual([node.state]);
    const stages = observed.stages.get(node)!.map((stage) => stage.replace(/^at_(job_|handler_)?/, ''));
    const text = stages.join(' ');
    if (!ALLOWED_STAGES.some((pattern) => pattern.test(text)))
      expect.fail(`${node.id} ${node.state}: ${text}`);
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
