import { beforeEach, describe, expect, it } from 'vitest';
import { checkFlowchart } from '../testing/check-flowchart.ts';
import { Commander, type CommanderOptions } from './commander.ts';
import { defineHandler, defineJob } from './define.ts';
import { addConditionalEdge, addEdge } from './edges.ts';
import { renderTree } from './render-tree.ts';
import type { Self, TaskNode, WorkRef } from './task-node.ts';
import { workflowToMermaid } from './workflow-diagram.ts';

let visits: string[];
beforeEach(() => {
  visits = [];
});

const job = (name: string, result: (self: Self) => unknown = () => undefined) =>
  defineJob<void, unknown>(name, (self) => {
    visits.push(name);
    return result(self);
  })();
const handler = (name: string, result: (self: Self) => unknown = () => undefined) =>
  defineHandler<[], unknown>(name, async (self) => {
    visits.push(name);
    return result(self);
  })();
const run = (first: ReturnType<typeof job>, options?: CommanderOptions) =>
  new Commander(options).run(first, { autoExit: true });

/** job1 → handler1 → job2 → job1 the first time, handler2 the second. */
function conditionalChain() {
  const [job1, handler1, handler2] = [job('job1'), handler('handler1'), handler('handler2')];
  let times = 0;
  const job2 = job('job2', () => {
    times += 1;
    return times === 1 ? 'again' : 'done';
  });
  addEdge(job1, handler1);
  addConditionalEdge(handler1, { first: job2, second: handler2 });
  return { job1, handler1, job2, handler2 };
}

describe('edges', () => {
  it('AG-21 a linear chain visits its nodes in order', async () => {
    const chain: WorkRef[] = [job('job1'), handler('handler1'), job('job2'), handler('handler2')];
    chain.slice(1).forEach((to, n) => {
      addEdge(chain[n]!, to);
    });
    await run(chain[0] as ReturnType<typeof job>);
    expect(visits).toEqual(['job1', 'handler1', 'job2', 'handler2']);
  });

  const branching = () => {
    const job1 = job('job1');
    const handler2 = handler('handler2');
    const job2 = job('job2');
    let times = 0;
    const handler1 = handler('handler1', () => {
      times += 1;
      return times;
    });
    addEdge(job1, handler1);
    addConditionalEdge(handler1, { 1: job2 }, { otherwise: handler2 });
    addEdge(job2, job1);
    return { job1, handler1 };
  };

  it('AG-21 a condition chooses the edge, and an edge may lead back', async () => {
    await run(branching().job1);
    expect(visits).toEqual(['job1', 'handler1', 'job2', 'job1', 'handler1', 'handler2']);
  });

  it('AG-21 two edges from one node fork', async () => {
    const { job1, handler1 } = branching();
    addEdge(handler1, handler('handler3'));
    await run(job1);
    expect(visits).toHaveLength(8);
    expect(visits.filter((name) => name !== 'handler3')).toEqual([
      'job1',
      'handler1',
      'job2',
      'job1',
      'handler1',
      'handler2',
    ]);
    expect(visits.filter((name) => name === 'handler3')).toHaveLength(2);
  });

  it('AG-21 an unmapped result ends the path, and a failed node follows no edge', async () => {
    const { job1 } = conditionalChain();
    await run(job1);
    expect(visits).toEqual(['job1', 'handler1']);
    const fails = job('fails', () => {
      throw new Error('x');
    });
    addEdge(fails, job('not reached'));
    await run(fails, { errors: 'isolate' });
    expect(visits).not.toContain('not reached');
  });

  it('AG-21 passes the data on, or the data of the edge', async () => {
    const seen: unknown[] = [];
    const first = job('first', (self) => {
      self.data = { shared: true };
    });
    const second = handler('second', (self) => seen.push(self.data));
    const third = handler('third', (self) => seen.push(self.data));
    addEdge(first, second);
    addEdge(second, third, { data: 'own' });
    await run(first);
    expect(seen).toEqual([{ shared: true }, 'own']);
  });

  it('AG-22 a cycle ends at its limit, with the path and exact counts', async () => {
    for (const errors of ['fail-fast', 'isolate'] as const) {
      visits = [];
      const [a, b] = [job('a'), handler('b')];
      addEdge(a, b, { maxVisits: 3 });
      addEdge(b, a, { maxVisits: 3 });
      await expect(run(a, { errors })).rejects.toMatchObject({
        code: 'WORKFLOW_LIMIT',
        message: 'An edge was followed more than 3 times: a → b → a → b → a → b → a → b',
        details: { path: ['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b'], maxVisits: 3 },
      });
      expect(visits).toEqual(['a', 'b', 'a', 'b', 'a', 'b', 'a']);
    }
  });

  it('AG-22 a cycle without its own limit ends at the default limit, counted anew in each run', async () => {
    const cycle = job('cycle');
    addEdge(cycle, cycle);
    const one = new Commander();
    for (let n = 0; n < 2; n += 1) {
      visits = [];
      await expect(one.run(cycle)).rejects.toMatchObject({ code: 'WORKFLOW_LIMIT' });
      expect(visits).toHaveLength(101);
    }
  });

  it('AG-23 a join runs once, after all nodes that lead to it', async () => {
    const start = job('start');
    const [left, right, join] = [handler('left'), job('right'), job('join')];
    addEdge(start, left);
    addEdge(start, right);
    addEdge(left, join, { join: 'all' });
    addEdge(right, join, { join: 'all' });
    await run(start);
    expect(visits.at(-1)).toBe('join');
    expect(visits.filter((name) => name === 'join')).toHaveLength(1);
    expect(visits.toSorted()).toEqual(['join', 'left', 'right', 'start']);
  });

  it('AG-23 a join in a cycle runs once for each round', async () => {
    let rounds = 0;
    const start = job('start');
    const [left, right] = [handler('left'), handler('right')];
    const join = job('join', () => {
      rounds += 1;
      return rounds < 3;
    });
    addEdge(start, left);
    addEdge(start, right);
    addEdge(left, join, { join: 'all' });
    addEdge(right, join, { join: 'all' });
    addConditionalEdge(join, { true: start });
    await run(start);
    expect(visits.filter((name) => name === 'join')).toHaveLength(3);
  });
});

describe('diagrams', () => {
  it('AG-24 renderTree shows kind, name, state and time of each node', async () => {
    const one = new Commander();
    let rendered = '';
    let parent: TaskNode | undefined;
    await one.run(
      job('parent', (self) => {
        parent = self.node;
        self.call(handler('first', (inner) => void inner.putJob(job('second'))));
        self.call(handler('quick'));
        return handler('last', async () => {
          await new Promise((next) => setImmediate(next));
          rendered = renderTree(self.commander.root);
        });
      }),
      { autoExit: true },
    );
    expect(rendered.replace(/\d+ ms/g, 'n ms').split('\n')).toEqual([
      'commander (active, n ms)',
      '└─ 1.1 job parent (active, n ms)',
      '   ├─ 1.1.1 handler first (completed, n ms)',
      '   │  └─ 1.1.1.1 job second (completed, n ms)',
      '   ├─ 1.1.2 handler quick (completed, n ms)',
      '   └─ 1.1.3 handler last (active, n ms)',
    ]);
    expect(renderTree(parent!)).toMatch(/^1\.1 job parent \(completed, \d+ ms\)\n├─ /);
    expect(renderTree(one.root)).toMatch(/^commander \(completed, \d+ ms\)$/);
  });

  it('AG-24 workflowToMermaid draws the edges as valid Mermaid', () => {
    const awkward = 'say "hi"; %%{x}%% `a` <b> & #1 \\ é 😀 [x] (y) {z} | end\nnew line direction LR';
    const [a, b, c] = [job(awkward), handler('end'), job('c')];
    addEdge(a, b);
    addConditionalEdge(b, { [awkward]: a, '': c }, { otherwise: c });
    addEdge(c, c, { join: 'all' });
    const chart = checkFlowchart(workflowToMermaid(a));
    const text = awkward.replace('\n', ' ');
    expect([...chart.nodes]).toEqual([
      ['n1', { shape: 'box', text }],
      ['n2', { shape: 'round', text: 'end' }],
      ['n3', { shape: 'box', text: 'c' }],
    ]);
    expect(chart.arrows).toEqual([
      { from: 'n1', to: 'n2', label: undefined, thick: false },
      { from: 'n2', to: 'n1', label: text, thick: false },
      { from: 'n2', to: 'n3', label: ' ', thick: false },
      { from: 'n2', to: 'n3', label: 'otherwise', thick: false },
      { from: 'n3', to: 'n3', label: undefined, thick: true },
    ]);
  });
});
