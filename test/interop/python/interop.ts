// Python nodes of the peer on our sentinel: `npm run interop-python`. It finds Python 3.12 ($PYTHON, or python3.12, or python3 of
// that version), makes a virtual environment under `.fame/interop-python`, installs the peer from PyPI there once, starts our
// sentinel, our agents and Python agents, and checks the output of a Python client and the replies of Python agents to our link. Then it runs
// the matrix of `test/interop/matrix` with all three implementations, and prints its table.
import { deepStrictEqual, match, ok } from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NAYLENCE_VARIABLES } from '@fame-fabric/shared/internal';
import { runFame, startOurAgent } from '../../kit/commands.ts';
import { closeLinks, connectLink, mathService } from '../../kit/our-node.ts';
import { type Proc, stopAll } from '../../kit/processes.ts';
import { restartAgent } from '../../kit/restarts.ts';
import { listNodes, type OurSentinel, startOurSentinel } from '../../kit/sentinel.ts';
import type { Outcome } from '../matrix/cells.ts';
import { KINDS } from '../matrix/kinds.ts';
import { ROWS } from '../matrix/rows.ts';
import { runFabric } from '../matrix/run.ts';
import { tableText } from '../matrix/table.ts';
import { checkGated } from './gated.ts';
import { checkOverlay } from './overlay.ts';
import { PYTHON, readReport, startPython } from './peer.ts';

/** Two agents with one salt have the same id. */
async function startPythonAgent(sentinel: OurSentinel, kind: string, salt?: string): Promise<Proc> {
  const address = `${kind}-py@fame.fabric`;
  return startServed(sentinel, startPython(sentinel, 'agent.py', [kind, address], { salt }), address);
}

/** Waits until the agent is served at the address. */
async function startServed(sentinel: OurSentinel, agent: Proc, address: string): Promise<Proc> {
  const deadline = Date.now() + 40_000;
  const isServed = async (): Promise<boolean> =>
    (await listNodes(sentinel)).some((node) => node.state === 'attached' && node.addresses.includes(address));
  while (!(await isServed())) {
    if (!agent.alive || Date.now() > deadline) throw agent.failure('did not bind its address');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return agent;
}

/** X7: restarts of an agent; FAME_RESTARTS sets their number. */
async function restartPython(name: string, salt: (round: number) => string): Promise<void> {
  const sentinel = await startOurSentinel();
  const report = await restartAgent({
    url: sentinel.url,
    address: 'math-py@fame.fabric',
    rounds: Number(process.env.FAME_RESTARTS ?? 2),
    start: (round) => startPythonAgent(sentinel, 'math', salt(round)),
  });
  console.log(`X7: a Python agent, ${name}: ${JSON.stringify(report)}`);
}

const checks: [string, () => void | Promise<void>][] = [];
const check = (what: string, run: () => void | Promise<void>): void => {
  checks.push([what, run]);
};

async function main(): Promise<number> {
  const sentinel = await startOurSentinel();
  const [agent, link] = await Promise.all([connectLink(sentinel.url), connectLink(sentinel.url)]);
  await agent.bind('math@fame.fabric', mathService());
  await Promise.all([
    startOurAgent(sentinel),
    startPythonAgent(sentinel, 'chat'),
    startPythonAgent(sentinel, 'math'),
    startPythonAgent(sentinel, 'work'),
  ]);
  const client = startPython(sentinel, 'client.py');
  const report = await readReport(client);

  for (const [kind, name] of [
    ['ts', 'our agent'],
    ['py', 'a Python agent'],
  ] as const) {
    const results = report[kind];
    check(`a Python client calls ${name}, positional and named`, () =>
      deepStrictEqual([results.add, results.named], [7, 42]),
    );
    check(`a Python client reads a stream of 300 items of ${name}`, () => ok(results.count));
    check(`a Python client makes 100 calls of ${name} at once`, () => ok(results.burst));
    check(`a Python client gets the error of ${name}`, () => match(results.fail, /./));
  }
  check('X7: a Python agent that is killed and restarted under the same id costs its callers no error', () =>
    restartPython('the same id', () => 'x7'),
  );
  check('X7: the same under another id', () => restartPython('another id', (round) => `x7-${round}`));
  check('a Python client has three turns with our chat agent', () => {
    match(report.chat.started, /working/i);
    match(report.chat.sums, /42/);
    match(report.chat.name, /Ada/);
  });
  for (const [args, prompt] of [
    [[], 'You are a helpful assistant.'],
    [['--system', 'Be brief.'], 'Be brief.'],
  ] as const) {
    check(
      `NF2: fame ${['chat', ...args].join(' ')} talks to a Python chat agent that needs a system prompt`,
      async () => {
        const { code, stdout } = await runFame(sentinel, ['chat', 'chat-py@fame.fabric', ...args], 'Hello\n');
        deepStrictEqual([code, stdout.trim()], [0, `prompt: ${prompt}; messages: 1`]);
      },
    );
  }
  check('I2: the list of variables has every one that the Python packages name', () => {
    const files = globSync(join(PYTHON, '../../lib/python*/site-packages/naylence/**/*.py'));
    const names = files.flatMap(
      (file) => readFileSync(file, 'utf8').match(/\bFAME_[A-Z][A-Z\d_]*[A-Z\d]\b/g) ?? [],
    );
    // A constant in their code, not a variable.
    const known = new Set([...NAYLENCE_VARIABLES.map(({ name }) => name), 'FAME_MAX_MESSAGE_SIZE']);
    ok(names.includes('FAME_SECURITY_PROFILE'));
    deepStrictEqual(
      names.filter((name) => !known.has(name)),
      [],
    );
  });
  const sample = startPython(sentinel, '../samples/talk.py');
  const answers = (await sample.exited).code === 0 ? sample.output.match(/^.*\bAda\b.*$/gm) : [];
  check('the Python sample in docs/naylence.md gets its two answers', () =>
    deepStrictEqual(answers?.length, 2),
  );
  const greeter = await startServed(
    sentinel,
    startPython(sentinel, '../samples/greeter.py'),
    'greeter@fame.fabric',
  );
  check('our link calls the Python agent in docs/guides/python.md', async () => {
    deepStrictEqual(await link.call('greeter@fame.fabric', 'greet', { name: 'Ada' }), 'Hello, Ada!');
    const items: unknown[] = [];
    for await (const item of link.stream('greeter@fame.fabric', 'count', { to: 3 })) items.push(item);
    deepStrictEqual(items, [1, 2, 3]);
    ok(greeter.alive);
  });
  check('a Python client follows a task of a Python agent', () => {
    deepStrictEqual(report.work.filter((event) => event === 'artifact').length, 3);
    deepStrictEqual(report.work.at(-1), 'completed');
  });
  check('a Python client gets the error of an address that is not served', () =>
    match(report.unserved, /No node serves unserved@fame.fabric/),
  );
  check('our link calls a Python agent', async () => {
    deepStrictEqual(await link.call('math-py@fame.fabric', 'add', { args: [2, 3] }), 5);
    deepStrictEqual(await link.call('math-py@fame.fabric', 'add', { x: 20, y: 22 }), 42);
  });
  check('our link reads a stream of a Python agent, which ends with a missing result', async () => {
    let next = 1;
    for await (const item of link.stream('math-py@fame.fabric', 'count', { args: [1_000] })) {
      deepStrictEqual(item, next++);
    }
    deepStrictEqual(next, 1_001);
  });

  await checkGated(
    {
      python: PYTHON,
      start: (gated, script, args, env) =>
        startPython(gated, script, args, { salt: `gated-${args.join('-')}`, env }),
      served: startServed,
    },
    check,
  );

  await checkOverlay(check);

  await runChecks();
  await closeLinks();
  await stopAll();
  await runMatrix();
  console.log(`${held} of ${held + failed} hold`);
  return failed === 0 ? 0 : 1;
}

let held = 0;
let failed = 0;

/** Runs the checks that were added, and prints the result of each. */
async function runChecks(): Promise<void> {
  for (const [what, run] of checks.splice(0)) {
    try {
      await run();
      held++;
      console.log(`ok    ${what}`);
    } catch (error) {
      failed++;
      console.log(`FAIL  ${what}: ${(error as Error).message}`);
    }
  }
}

/** I1: naylence's examples for all combinations, one kind of sentinel after the other. */
async function runMatrix(): Promise<void> {
  const outcomes: Outcome[] = [];
  for (const main of KINDS) {
    console.log(`the matrix: 9 combinations at a sentinel of the kind ${main}`);
    outcomes.push(...(await runFabric(main, KINDS)));
    await stopAll();
  }
  for (const row of ROWS) {
    const faults = outcomes.filter((outcome) => outcome.row === row && outcome.fault);
    check(`I1: ${row}`, () => deepStrictEqual(faults, []));
  }
  await runChecks();
  console.log(`\n${tableText(outcomes, KINDS)}\n`);
}

try {
  process.exitCode = await main();
} finally {
  await closeLinks();
  await stopAll();
}
