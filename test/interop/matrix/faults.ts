// The rows of the matrix about processes that are killed, frozen and restarted. In each, every call ends with an answer or an error in
// bounded time, and calls work again after the process is back. A fault happens once for all cells of a fabric.
import type { Proc } from '../../kit/processes.ts';
import { checkCells, type Outcome, type RunningCell } from './cells.ts';
import { addressOf, type Fabric, type KindNodes } from './fabric.ts';
import { startClient } from './kinds.ts';

/** Time limit of a call, in ms. Clients of naylence end their calls after 30 s. */
const CALL_MS = 45_000;
/** Time limit until calls work again, in ms. Nodes of naylence notice a lost sentinel after 15 s, and pause for up to 60 s between attempts. */
const RECOVERY_MS = 120_000;
const RETRY_MS = 250;

type Fault = (row: string, fabric: Fabric, cells: readonly RunningCell[]) => Promise<Outcome[]>;
type Calls = ReadonlyMap<RunningCell, Promise<unknown>>;

function callAll(
  cells: readonly RunningCell[],
  verb: string,
  targets: (cell: RunningCell) => Record<string, unknown>,
): Calls {
  return new Map(
    cells.map((cell) => {
      const ended = cell.clients.client.ask(verb, targets(cell), CALL_MS);
      // Reported by the cell, which awaits it later.
      ended.catch(() => {});
      return [cell, ended];
    }),
  );
}

/** Starts a call in every cell, and waits until every agent runs one of them: those of naylence run one call at a time. */
async function callSlowly(
  tag: string,
  fabric: Fabric,
  cells: readonly RunningCell[],
  ms: number,
): Promise<Calls> {
  const calls = callAll(cells, 'slow', ({ agent }) => ({ math: addressOf('math', agent), ms, tag }));
  const isBusy = new RegExp(`"event": ?"${tag}"`);
  await Promise.all(nodesOf(fabric).map(({ first }) => first.proc.waitFor(isBusy)));
  return calls;
}

const add = (cells: readonly RunningCell[], agent: string): Calls =>
  callAll(cells, 'add', (cell) => ({ math: addressOf(agent, cell.agent) }));

const nodesOf = ({ nodes }: Fabric): KindNodes[] => [...nodes.values()];

/** Freezes processes until `during` resolves. */
async function freeze(procs: readonly Proc[], during: () => Promise<unknown>): Promise<void> {
  for (const { child } of procs) child.kill('SIGSTOP');
  try {
    await during();
  } finally {
    for (const { child } of procs) child.kill('SIGCONT');
  }
}

/** Checks in every cell that the call ended, and calls the agent until the answer is right. */
const verdicts = (row: string, calls: Calls, agent = 'math'): Promise<Outcome[]> =>
  checkCells(row, [...calls.keys()], async (cell) => {
    await calls.get(cell);
    const deadline = Date.now() + RECOVERY_MS;
    for (;;) {
      const math = addressOf(agent, cell.agent);
      const { ok, result, error } = await cell.clients.client.ask('add', { math }, CALL_MS);
      if (ok && result === 7) return;
      if (Date.now() > deadline) throw new Error(`calls still fail: ${error ?? JSON.stringify(result)}`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  });

/** Waits until every call ended. */
const ended = (calls: Calls): Promise<unknown> => Promise.allSettled(calls.values());

const clientKilled: Fault = async (row, fabric, cells) => {
  await callSlowly(row, fabric, cells, 500);
  await Promise.all(
    [...fabric.nodes].map(async ([kind, nodes]) => {
      await nodes.client.proc.kill();
      nodes.client = await startClient(kind, { url: fabric.sentinel.url, id: `next-client-${kind}` });
    }),
  );
  // The calls ended with their clients.
  return verdicts(row, new Map(cells.map((cell) => [cell, Promise.resolve()])));
};

const clientFrozen: Fault = async (row, fabric, cells) => {
  const calls = await callSlowly(row, fabric, cells, 500);
  const clients = nodesOf(fabric).map(({ client }) => client.proc);
  await freeze(clients, () =>
    // Another client is served meanwhile, after the calls of the frozen one.
    Promise.all(
      cells.map(({ agent, clients }) =>
        clients.persistent.do('add', { math: addressOf('math', agent) }, CALL_MS),
      ),
    ),
  );
  return verdicts(row, calls);
};

const agentKilled: Fault = async (row, fabric, cells) => {
  const calls = await callSlowly(row, fabric, cells, 20_000);
  await Promise.all(nodesOf(fabric).map(({ first }) => first.proc.kill().then(() => first.restart())));
  return verdicts(row, calls);
};

const agentFrozen: Fault = async (row, fabric, cells) => {
  let calls: Calls = new Map();
  await freeze(
    nodesOf(fabric).map(({ second }) => second.proc),
    () => {
      calls = add(cells, 'spare');
      return ended(calls);
    },
  );
  return verdicts(row, calls, 'spare');
};

const sentinelKilled: Fault = async (row, fabric, cells) => {
  const calls = await callSlowly(row, fabric, cells, 2_000);
  await fabric.sentinel.proc.kill();
  await fabric.sentinel.restart();
  return verdicts(row, calls);
};

const sentinelFrozen: Fault = async (row, fabric, cells) => {
  let calls: Calls = new Map();
  await freeze([fabric.sentinel.proc], () => {
    calls = add(cells, 'math');
    return ended(calls);
  });
  return verdicts(row, calls);
};

/** The rows in order of their run. Those of one list run at once, because they concern different processes. */
export const FAULTS: readonly (readonly (readonly [string, Fault])[])[] = [
  [['client killed, started again', clientKilled]],
  [['client frozen, continued', clientFrozen]],
  [
    ['agent killed, started again', agentKilled],
    ['agent frozen, continued', agentFrozen],
  ],
  [['sentinel killed, started again', sentinelKilled]],
  [['sentinel frozen, continued', sentinelFrozen]],
];
