import { defineConfig } from 'vitest/config';

/** For tests with random values. */
const seed = 'test/kit/fixed-seed.ts';
/** For tests that start processes. */
const setupFiles = ['test/kit/clean-up.ts', seed];
const exclude = ['**/node_modules/**', '**/dist/**', '**/templates/**'];

/** A minute of frames, with time limits of its own. */
const autobahn = 'test/conformance/autobahn.test.ts';

/** Tests that take 8 seconds or more. They run in the crash step, one at a time, so that `make test` stays short. */
const slow = [
  'agents/src/conversation/hostile-answers.test.ts',
  'agents/src/store/{postgres/postgres-store,sqlite/sqlite-store}.test.ts',
  'doors/src/openai/histories.test.ts',
  'test/doors/{a2a,conformance/mcp,conformance/mcp-client}.test.ts',
  'test/integration/{acp,cluster,dev,doors,durable-guide,mcp-tools,metrics,nothing-left,painless-restarts,progress,prompt-terminal,secrets,traces}.test.ts',
  'test/interop/{agere/dialogues,at-least-once-restarts,cluster,matrix/matrix,overlay}.test.ts',
  'test/promises/{d8-doors-gate,g1-gate-matrix,p18-http,page-routes,page-sessions,p8-backpressure,p8-slow-consumer,x4-clock-steps}.test.ts',
];

/** Tests of promises about time. They mostly wait, and nothing busy may run beside them. */
const punctual = [
  'test/promises/p15-drain.test.ts',
  'test/integration/{agent-killed,concurrency,first-token,late-answer,sentinel-drain,sentinel-killed}.test.ts',
];

/** Unmodified clients of the OpenAI door, which are installed on demand. */
const clients = 'test/doors/openai/*.test.ts';

/** Tests of the command that start it as a process. */
const processes = 'bin/{client,fame,local}.test.ts';

/** Tests that need the tools of `packaging`. */
const workflows = 'packaging/workflows.test.ts';
/** Packs, publishes and installs all packages several times: two minutes on both cores. */
const published = 'packaging/{published,create-app}.test.ts';

export default defineConfig({
  // Tests read the TypeScript sources of every workspace, so a test run never sees a stale build; only tests that start
  // processes run what `npm run build` made.
  resolve: { conditions: ['fame-source'] },
  // Not `module`, which Node does not know: it resolves to files for bundlers.
  ssr: { resolve: { conditions: ['fame-source', 'node', 'development|production'] } },
  test: {
    // Tests wait for events. These limits only end what hangs, also on a machine that is busy with something else.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 20_000, interval: 20 } },
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          setupFiles: [seed],
          include: [
            '{shared,sentinel,agents,client,doors,console,packages,bin,bench,packaging}/**/*.test.ts',
            'test/*.test.ts',
          ],
          exclude: [...exclude, ...slow, processes, workflows, published],
          maxWorkers: '100%',
          // Files share the modules of their process, which saves a third of the time; spies and replaced globals are taken back.
          isolate: false,
          restoreMocks: true,
          unstubGlobals: true,
          sequence: { groupOrder: 0 },
        },
      },
      // The three below start processes, which share few cores with the tests: three files at a time, since some of them wait for
      // seconds. Each test runs once.
      {
        extends: true,
        test: {
          name: 'wire',
          setupFiles,
          globalSetup: ['test/kit/install-before-tests.ts'],
          include: [
            processes,
            workflows,
            'test/{conformance,doors,interop,compose,integration,mermaid,promises}/**/*.test.ts',
          ],
          exclude: [...exclude, ...slow, ...punctual, autobahn, clients],
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          setupFiles,
          include: punctual,
          exclude,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          // Pages in Chromium: `npm run test-browser`, a separate step in continuous integration.
          name: 'browser',
          setupFiles,
          include: ['test/browser/**/*.test.ts'],
          exclude,
          maxWorkers: 1,
          sequence: { groupOrder: 4 },
        },
      },
      {
        extends: true,
        test: {
          // Clients in JavaScript and Python, which it installs: `npm run test-doors`, a separate step in continuous integration.
          name: 'doors',
          setupFiles,
          globalSetup: ['test/doors/openai/install.ts'],
          include: [clients],
          exclude,
          maxWorkers: 2,
          sequence: { groupOrder: 5 },
        },
      },
      {
        extends: true,
        test: {
          // Minutes of kills, of random frames, of mixed versions and of installed packages, and the slow tests of the projects above:
          // `npm run test-crash`, a separate step in continuous integration.
          name: 'crash',
          setupFiles,
          globalSetup: ['test/kit/install-before-tests.ts', 'test/kit/postgres-before-tests.ts'],
          include: [
            'test/{crash,versions}/**/*.test.ts',
            'test/conformance/fuzz.test.ts',
            autobahn,
            published,
            ...slow,
          ],
          exclude,
          env: { FAME_FUZZ_FRAMES: '100000' },
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
