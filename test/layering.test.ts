// The rules of the repository, checked against the sources on every run: which workspace may import which, the floors inside
// the agents, the one file that imports each library, the readers of the environment, and one implementation of each small
// part. The rules are implemented in `kit/layering.ts`; here each also finds a planted fault. Change a rule here, with its
// reason in docs/decisions.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  consoleViolations,
  deepImports,
  environmentReaders,
  fenceBreaks,
  fileCycles,
  floorViolations,
  importersOf,
  kitImports,
  librariesOf,
  missingImports,
  nodeModulesBehind,
  outwardConnections,
  type PackageFile,
  productsOf,
  readTree,
  roomCycles,
  type Single,
  type SourceTree,
  secondImplementations,
  strayArrows,
  timerSetters,
  wallTimeReaders,
  webSocketDialers,
  wildcardExports,
  workspaceOf,
} from './kit/layering.ts';
import { ROOT } from './kit/processes.ts';

const WORKSPACES = [
  'shared',
  'sentinel',
  'agents',
  'client',
  'doors',
  'packages/react',
  'packages/create-fame-app',
];
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

const tree = readTree(
  new Map(
    globSync(
      [
        '{shared,sentinel,agents,client,doors,packages/*}/{src,examples}/**/*.{ts,tsx}',
        '{bin,bench}/**/*.ts',
        'test/*.ts',
        'test/{browser,compose,conformance,crash,doors,integration,interop,kit,mermaid,promises,recording,screenshots}/**/*.ts',
      ],
      { cwd: ROOT, exclude: ['**/node_modules/**', 'test/layering.test.ts'] },
    ).map((file) => [file, read(file)] as const),
  ),
  Object.fromEntries(
    WORKSPACES.map((folder) => [folder, JSON.parse(read(`${folder}/package.json`)) as PackageFile]),
  ),
);

function expectNone(rule: string, violations: readonly string[]): void {
  expect(violations, rule).toEqual([]);
}

/** A tree of planted files. */
const planted = (
  files: Readonly<Record<string, string>>,
  packages: SourceTree['packages'] = {},
): SourceTree => readTree(new Map(Object.entries(files)), packages);

// --- The rules of this repository ----------------------------------------------------------------------------------------

/** The workspaces that a workspace may import, besides itself. */
const ARROWS = {
  shared: [],
  sentinel: ['shared'],
  agents: ['shared'],
  client: ['shared'],
  doors: ['shared', 'client'],
  'packages/react': ['shared', 'client'],
  'packages/create-fame-app': [],
  bin: ['shared', 'sentinel', 'agents', 'client', 'doors'],
};

/** A file of the agents imports its own floor and lower ones only; index and subpath files are above them all. */
const FLOORS = {
  net: 1,
  model: 1,
  store: 1,
  tools: 2,
  yaml: 2,
  workflow: 2,
  telemetry: 2,
  agent: 2,
  builtin: 3,
  turn: 3,
  strategy: 3,
  conversation: 4,
  handoff: 5,
  refine: 6,
  team: 6,
  process: 7,
};

const SINGLES: readonly Single[] = [
  {
    name: 'backoff or jitter',
    pattern: /\bMath\.random\b|\* 2 \*\* (?!\d)/,
    home: 'shared/src/async/backoff.ts',
    // Passes its randomness to the backoff, and spreads the pauses that servers request.
    also: ['agents/src/model/openai/openai-model.ts'],
  },
  {
    name: 'asynchronous queue',
    pattern: /\bnext\(\): Promise<IteratorResult</,
    home: 'shared/src/async/channel.ts',
    also: [
      // The items of one call: the credit of the call bounds the queue.
      'shared/src/link/call-iterator.ts',
      'shared/src/link/stream-call.ts',
      // The chunks of one read of a socket. There is no producer to queue for: it reads when the next chunk is requested.
      'agents/src/model/openai/attempt.ts',
    ],
  },
  {
    name: 'broadcast',
    pattern: /\basync \*follow\(|\?\?= Promise\.withResolvers/,
    home: 'shared/src/async/broadcast.ts',
    also: [
      // Follows the events of an agent over the wire.
      'client/src/conversations.ts',
    ],
  },
  {
    name: 'keyed queue',
    pattern: /Map<[^>]*\b(?:Lane|Line|Queue)\b|\blast: Promise/,
    home: 'shared/src/async/keyed-queue.ts',
  },
  { name: 'FIFO', pattern: /#head(?:\+\+| \+= 1)/, home: 'shared/src/async/fifo.ts' },
  {
    name: 'abortable pause',
    pattern:
      /\b(?:after|setTimeout)\([\s\S]{0,150}?\bresolve\b[\s\S]{0,150}?(?:'abort'|\bonAbort\b|\buntilAborted\b)|'node:timers\/promises'/,
    home: 'shared/src/async/abort.ts',
  },
  {
    name: 'closest match',
    pattern: /Math\.min\([^;]*\+ 1,[^;]*\+ 1/,
    home: 'shared/src/cli/closest-match.ts',
  },
  {
    name: 'terminal escaping',
    pattern: /\\u007f-\\u009f|\\u202a|\\u2066/i,
    home: 'shared/src/cli/escape-controls.ts',
  },
  {
    name: 'table of exit codes',
    pattern: /(?:: |(?<!=)= |\? |\breturn )69\b/,
    home: 'shared/src/cli/exit-codes.ts',
  },
  { name: 'reader of settings', pattern: /The configuration has \$\{/, home: 'shared/src/env/read-env.ts' },
  {
    name: 'surrogate-safe cut',
    pattern: /0xfc00\) === 0xd800|\\uD800|0xdbff|\.slice\([^\n]*\)\.toWellFormed\(\)/i,
    home: 'shared/src/text/cut-text.ts',
  },
];

const LIBRARIES = {
  ws: [
    'doors/src/openai/responses/response-socket.ts',
    'doors/src/openai/responses/response-sockets.ts',
    'sentinel/src/door/listener.ts',
    'sentinel/src/door/node-socket.ts',
    'sentinel/src/door/plain-socket.ts',
    'sentinel/src/door/ws-check.ts',
    'shared/src/link/ws-transport.ts',
  ],
  fastify: ['doors/src/fastify.ts', 'sentinel/src/http/fastify.ts'],
  '@nats-io/jetstream': ['sentinel/src/cluster/kv-owners.ts'],
  '@nats-io/kv': ['sentinel/src/cluster/kv-owners.ts'],
  '@nats-io/transport-node': ['sentinel/src/cluster/nats-bus.ts'],
  openai: ['agents/src/model/openai/openai-model.ts'],
  pg: ['agents/src/store/postgres/connection.ts'],
  '@a2a-js/sdk': ['doors/src/a2a/sdk.ts'],
  '@agentclientprotocol/sdk': ['doors/src/acp/sdk.ts'],
  '@modelcontextprotocol/client': ['agents/src/tools/mcp/mcp-session.ts'],
  '@modelcontextprotocol/server': ['doors/src/mcp/sdk.ts'],
  '@clack/prompts': ['packages/create-fame-app/src/questions.ts'],
  jose: [
    'sentinel/src/access/tokens/claims.ts',
    'sentinel/src/access/tokens/issuer-keys.ts',
    'sentinel/src/access/tokens/token-source.ts',
  ],
  pino: ['shared/src/pino-log.ts'],
  'prom-client': ['shared/src/metrics/registry.ts'],
  nanoid: ['shared/src/ids.ts'],
  bufferutil: ['sentinel/src/door/unmask.ts'],
  '@opentelemetry/api': ['shared/src/telemetry/otel-tracing.ts', 'shared/src/telemetry/otlp.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['shared/src/telemetry/otlp.ts'],
  '@opentelemetry/exporter-trace-otlp-proto': ['shared/src/telemetry/otlp.ts'],
  '@opentelemetry/resources': ['shared/src/telemetry/otlp.ts'],
  '@opentelemetry/sdk-trace-node': ['shared/src/telemetry/otlp.ts'],
  react: ['packages/react/src/use-conversation.ts'],
  yaml: [
    'agents/src/yaml/yaml-file.ts',
    // A sentinel does not install the agents, and shared does not load in a browser with `yaml`.
    'sentinel/src/access/policy/policy-yaml.ts',
  ],
};

/** The files of the console that import each library. Preact and its signals are everywhere. */
const CONSOLE_LIBRARIES = {
  uplot: /^console\/src\/parts\/chart\.tsx$/,
  marked: /^console\/src\/parts\/markdown\.tsx?$/,
};

const ADAPTERS = {
  'sentinel/src/door/listener.ts': ['sentinel/src/sentinel.ts'],
  'sentinel/src/http/http.ts': ['sentinel/src/sentinel.ts'],
  'sentinel/src/cluster/nats-bus.ts': ['sentinel/src/cluster/open-bus.ts'],
  'shared/src/link/ws-transport.ts': ['shared/src/node.ts'],
  'shared/src/pino-log.ts': ['shared/src/node.ts'],
  'agents/src/model/openai/openai-model.ts': [
    'agents/src/index.ts',
    'agents/src/process/configured-models.ts',
  ],
  'agents/src/store/postgres/postgres-store.ts': ['agents/src/store/open-store.ts'],
  'agents/src/store/sqlite/sqlite-store.ts': [
    'agents/src/index.ts',
    'agents/src/internal.ts',
    'agents/src/store/open-store.ts',
  ],
};

/** The files that open connections: the fetch for addresses from outside, and requests to configured servers. */
const OUTWARD = [
  // Requests OPENAI_BASE_URL only, over node:http: the body of its response is a Node stream.
  'agents/src/model/openai/node-fetch.ts',
  'agents/src/net/safe-fetch.ts',
  // Requests configured MCP servers only.
  'agents/src/tools/mcp/bounded-fetch.ts',
  'bin/model-probe.ts',
  'bin/sentinel-http.ts',
  // Requests configured token issuers only.
  'shared/src/access/issuer-request.ts',
];

/** Files that may read single variables, and files that may pass the environment as a whole: the starts of processes. */
const ENVIRONMENT = {
  variable: /\/config\.ts$/,
  whole: /^bin\/command\.ts$|\/main\.ts$|\/config\.ts$|^agents\/src\/process\//,
};

/** The files that read wall time, which jumps, each with its purpose. Intervals use `Clock.monotonic`. */
const WALL_TIME: Readonly<Record<string, string>> = {
  'shared/src/cli/log-format.ts': 'the timestamp of a log line',
  'shared/src/async/clock.ts': 'the clock itself',
  'shared/src/protocol/envelope.ts': 'the field `ts` of an envelope',
  'sentinel/src/access/access.ts': 'the expiry of client certificates',
  'sentinel/src/access/audit-log.ts': 'the time of a line',
  'sentinel/src/access/tokens/token-source.ts': 'the expiry of tokens, which issuers state as wall time',
  'sentinel/src/cluster/pair.ts': 'the time of a loss, for display',
  'sentinel/src/door/tls.ts': 'the expiry of certificates',
  'sentinel/src/access/session-cookies.ts': 'the expiry of a session, which the cookie contains',
  'sentinel/src/access/sign-in-links.ts': 'the expiry of a link, which its user is shown',
  'sentinel/src/access/renewals.ts':
    'the time until a credential expires, which its issuer states in wall time',
  'sentinel/src/door-host.ts': 'the expiry of a credential, which its issuer states in wall time',
  'sentinel/src/door/admission.ts':
    'the time until a credential expires, which its issuer states in wall time',
  'sentinel/src/http/doctor.ts': 'the expiry of a certificate, which its issuer states in wall time',
  'sentinel/src/http/line-streams.ts': 'the expiry of a credential, which its issuer states in wall time',
  'sentinel/src/http/member-feed.ts': 'the time of a line, for display',
  'sentinel/src/http/node-feed.ts': 'the time of a line, for display',
  'sentinel/src/http/node-views.ts': 'the time of a refusal, for display',
  'sentinel/src/http/trace-route.ts': 'the time of a line, for display',
  'sentinel/src/http/trace.ts': 'the time stamps of trace entries',
  'sentinel/src/observe/history.ts': 'the time of a sample',
  'agents/src/telemetry/turn-statistics.ts': 'the time of a sample',
  'bin/verbs/key.ts': 'the expiry of a new key, which outlives the process',
  'sentinel/src/access/keys-change.ts':
    'the times in the keys file, which outlive the process, and the age of its lock',
  'sentinel/src/access/named-keys.ts': 'the expiry of keys, which outlives the process',
  'sentinel/src/session/sessions.ts': 'the start of a session, which is shown',
  'sentinel/src/session/sweeper.ts': 'the expiry of a credential, which its issuer states in wall time',
  'agents/src/agent/durable/durable-requests.ts': 'the deadline of a request, for a later process',
  'agents/src/agent/durable/request-runs.ts': 'the rest of the time of a request of an earlier process',
  'agents/src/agent/tasks/task-table.ts': 'the time stamp of a state, a field of A2A',
  'agents/src/conversation/host.ts':
    'time stamps and the deadline of a turn in the journal, for a later process',
  'agents/src/conversation/journal/journal-writer.ts': 'time stamps in the journal',
  'agents/src/conversation/quotas.ts': 'the minute and the day of a quota, which outlive the process',
  'agents/src/conversation/loaded-conversation.ts': 'the rest of the time of a turn of an earlier process',
  'agents/src/model/offline/offline-server.ts': 'the field `created` of an answer',
  'agents/src/model/openai/openai-model.ts': 'Retry-After with a date',
  'agents/src/store/memory-agent-store.ts': 'the last change of a request, for its retention',
  'agents/src/store/memory-store.ts': 'the last change of a conversation, for its retention',
  'agents/src/store/sqlite/sqlite-store.ts':
    'the last change of a conversation, and leases between processes',
  'agents/src/store/sweeper.ts': 'retention, which lasts longer than a process',
  'agents/src/strategy/prompt-strategy.ts': 'the date in a prompt',
  'agents/src/team/team.ts': 'the date in a prompt',
  'agents/src/tools/standard/standard-tools.ts': 'the tool that tells the time',
  'client/src/envelope-printer.ts': 'the time of a printed envelope',
  'client/src/repl/repl.ts': 'the age of earlier conversations, which is shown',
  'client/src/repl/saved-conversations.ts': 'the last change of a conversation, which is shown',
  'doors/src/fabric/link-fabric.ts': 'the expiry of the credential of a request',
  'doors/src/openai/chat-answer.ts': 'the field `created` of an answer',
  'doors/src/openai/responses/create.ts': 'the times of a response',
  'bin/local/managed-process.ts': 'the start of a process, for other processes',
  'bin/token/dev-issuer.ts': 'the time of issue in tokens',
  'bin/verbs/chat.ts': 'the age of conversations, which is shown',
  'bin/verbs/conversations.ts': 'the age at which conversations expire, for `sweep`',
  'bin/verbs/local.ts': 'the age of a process, which is shown',
};

/** The files that set timers without a clock. */
const TIMERS: Readonly<Record<string, string>> = {
  'shared/src/async/clock.ts': 'the clock itself',
  'shared/src/link/web-transport.ts': 'the limit of a dial, which has no clock in browsers',
  'sentinel/src/door/listener.ts': 'the limit of a close: a clock of tests may have stopped by then',
  'sentinel/src/main.ts': 'the start of the log of a process',
  'bin/fame.ts': 'the compile cache of a process, before any code of ours is loaded',
};

// --- The rules and their planted faults ----------------------------------------------------------------------------------

describe('the tree', () => {
  test('has the sources of every workspace', () => {
    for (const folder of WORKSPACES)
      expect(productsOf(tree).filter((file) => workspaceOf(file) === folder).length).toBeGreaterThan(3);
  });

  test('has every file that is imported', () => {
    expectNone('missing', missingImports(tree));
  });

  test('a planted import of a missing file is found', () => {
    const faulty = planted({ 'shared/src/a.ts': "import { b } from './b.ts';" });
    expect(missingImports(faulty)).toEqual(['shared/src/a.ts imports ./b.ts, which does not exist']);
  });
});

describe('arrows', () => {
  test('a workspace imports itself and shared, and the command all of them', () => {
    expectNone('arrows', strayArrows(tree, ARROWS));
  });

  test('a planted arrow between siblings is found, a type import too', () => {
    const faulty = planted({
      'client/src/a.ts': "import type { B } from '@fame-fabric/sentinel';",
      'sentinel/src/index.ts': 'export interface B {}',
    });
    expect(strayArrows(faulty, ARROWS)).toEqual(['client/src/a.ts -> sentinel/src/index.ts']);
  });

  test('products do not import test code', () => {
    expectNone('kit', kitImports(tree));
  });

  test('a planted import of the test kit is found', () => {
    const faulty = planted({
      'shared/src/a.ts': "import { clock } from './testing/manual-clock.ts';",
      'shared/src/testing/manual-clock.ts': 'export const clock = 1;',
    });
    expect(kitImports(faulty)).toEqual(['shared/src/a.ts -> shared/src/testing/manual-clock.ts']);
  });

  test('files import each other in no cycle, types included', () => {
    expectNone('cycles', fileCycles(tree));
  });

  test('a planted cycle of files is found, with every form of import', () => {
    const faulty = planted({
      'shared/src/a.ts': "import type { B } from './b.ts';\nexport const a = 1;",
      'shared/src/b.ts': "export {\n  c,\n} from './c.ts';",
      'shared/src/c.ts': "const a = await import('./a.ts');",
      'shared/src/d.ts': "import { a } from './a.ts';",
    });
    expect(fileCycles(faulty)).toEqual(['shared/src/a.ts <-> shared/src/b.ts <-> shared/src/c.ts']);
  });
});

describe('floors of the agents', () => {
  test('a file imports its own floor and lower ones', () => {
    expectNone('floors', floorViolations(tree, 'agents/src', FLOORS));
  });

  test('rooms of one floor import each other in no cycle', () => {
    expectNone('room cycles', roomCycles(tree, 'agents/src', FLOORS));
  });

  const index = { agents: { exports: { '.': { 'fame-source': './src/index.ts' } } } };

  test('a planted import of a higher floor is found, a type import too', () => {
    const faulty = planted({
      'agents/src/model/a.ts': "import type { B } from '../tools/b.ts';",
      'agents/src/tools/b.ts': "import { a } from '../model/a.ts';",
    });
    expect(floorViolations(faulty, 'agents/src', FLOORS)).toEqual([
      'agents/src/model/a.ts (1) -> agents/src/tools/b.ts (2)',
    ]);
  });

  test('a planted import of the index is found', () => {
    const faulty = planted(
      { 'agents/src/process/a.ts': "import { a } from '../index.ts';", 'agents/src/index.ts': '' },
      index,
    );
    expect(floorViolations(faulty, 'agents/src', FLOORS)).toEqual([
      'agents/src/process/a.ts (7) -> agents/src/index.ts (top)',
    ]);
  });

  test('a planted room without a floor and a planted file without a room are found', () => {
    const faulty = planted(
      { 'agents/src/attic/a.ts': '', 'agents/src/loose.ts': '', 'agents/src/index.ts': '' },
      index,
    );
    expect(floorViolations(faulty, 'agents/src', FLOORS)).toEqual([
      'agents/src/attic has no floor',
      'agents/src/loose.ts is in no room',
    ]);
  });

  test('a planted cycle between rooms of one floor is found, even if its files form none', () => {
    const faulty = planted({
      'agents/src/tools/a.ts': "import { b } from '../yaml/b.ts';",
      'agents/src/yaml/b.ts': '',
      'agents/src/yaml/c.ts': "import { d } from '../tools/d.ts';",
      'agents/src/tools/d.ts': '',
    });
    expect(fileCycles(faulty)).toEqual([]);
    expect(roomCycles(faulty, 'agents/src', FLOORS)).toEqual(['tools <-> yaml']);
  });
});

describe('the console', () => {
  const page = readTree(
    new Map(globSync('console/src/**/*.{ts,tsx}', { cwd: ROOT }).map((file) => [file, read(file)] as const)),
    tree.packages,
  );

  test('its rooms import lower ones only, and a screen imports no other screen', () => {
    expectNone('console', consoleViolations(page));
  });

  test('its files import each other in no cycle', () => {
    expectNone('cycles', fileCycles(page));
  });

  test('each of its libraries is imported by its own files only', () => {
    for (const [library, pattern] of Object.entries(CONSOLE_LIBRARIES)) {
      const importers = [...page.imports].filter(([, list]) => list.some(({ to }) => to === library));
      for (const [file] of importers) expect(file, library).toMatch(pattern);
    }
    const others = librariesOf(page).filter((name) => !(name in CONSOLE_LIBRARIES));
    expect(others).toEqual(['@preact/signals', 'preact', 'vitest'].filter((name) => others.includes(name)));
  });

  test('planted imports against these rules are found', () => {
    const faulty = planted({
      'console/src/parts/a.tsx': "import { b } from '../fabric/b.ts';",
      'console/src/fabric/b.ts': "import { connect } from '@fame-fabric/client/node';",
      'console/src/screens/trace/c.tsx': "import { d } from '../talk/d.tsx';",
      'console/src/screens/talk/d.tsx': "import { e } from '../../app/router.ts';",
      'console/src/app/router.ts': "import { f } from '../screens/talk/d.tsx';",
    });
    expect(consoleViolations(faulty)).toEqual([
      'console/src/parts/a.tsx -> console/src/fabric/b.ts',
      'console/src/fabric/b.ts -> @fame-fabric/client/node',
      'console/src/screens/trace/c.tsx -> console/src/screens/talk/d.tsx',
      'console/src/app/router.ts -> console/src/screens/talk/d.tsx',
    ]);
  });
});

describe('exports', () => {
  test('packages export by name', () => {
    expectNone('wildcards', wildcardExports(tree));
  });

  test('the condition for our sources has a name of our own', () => {
    // Other packages publish TypeScript under "source", which Node does not run in node_modules.
    const entries = Object.entries(tree.packages).flatMap(([folder, { exports = {} }]) =>
      Object.entries(exports)
        .filter(([, entry]) => typeof entry === 'object' && 'source' in entry)
        .map(([path]) => `${folder} ${path}`),
    );
    expectNone('conditions', entries);
  });

  test('a sibling is imported through its named exports only', () => {
    expectNone('deep', deepImports(tree));
  });

  const packages = { shared: { exports: { '.': { 'fame-source': './src/index.ts' }, './*': './src/*.ts' } } };

  test('a planted wildcard is found', () => {
    expect(wildcardExports(planted({}, packages))).toEqual(['shared/package.json exports "./*"']);
  });

  test('planted deep imports are found, by package name and by path', () => {
    const faulty = planted(
      {
        'client/src/a.ts': "import { b } from '@fame-fabric/shared/link/b';",
        'test/integration/c.test.ts': "import { b } from '../../shared/src/link/b.ts';",
        'bench/d.ts': "import { b } from '@fame-fabric/shared';",
      },
      packages,
    );
    expect(deepImports(faulty)).toEqual([
      'client/src/a.ts imports @fame-fabric/shared/link/b',
      'test/integration/c.test.ts imports ../../shared/src/link/b.ts',
    ]);
  });
});

describe('one of each', () => {
  test.each(SINGLES)('one $name, in $home', (single) => {
    expectNone(single.name, secondImplementations(tree, [single]));
  });

  const faults: Readonly<Record<string, string>> = {
    'backoff or jitter': 'const ms = Math.min(MAX_MS, MIN_MS * 2 ** attempt) * Math.random();',
    'asynchronous queue': 'next(): Promise<IteratorResult<T, undefined>> {',
    broadcast: 'this.#change ??= Promise.withResolvers();',
    'keyed queue': 'readonly #lines = new Map<string, Line>();',
    FIFO: 'const item = this.#items[this.#head++];',
    'abortable pause': "clock.after(ms, resolve);\nsignal.addEventListener('abort', onAbort);",
    'closest match': 'const least = Math.min(previous[j]! + 1, current[j - 1]! + 1, replaced);',
    'terminal escaping': 'text.replace(/[\\u0000-\\u001f\\u007f-\\u009f]/g, "?")',
    'table of exit codes': 'const EXIT = { ok: 0, unreachable: 69 };',
    'reader of settings': `throw new Error(\`The configuration has \${count}\`);`,
    'surrogate-safe cut': 'if ((text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to -= 1;',
  };

  test.each(SINGLES)('a planted second $name is found', (single) => {
    const text = faults[single.name]!;
    const faulty = planted({ [single.home]: text, 'client/src/own.ts': `// ${text}\n${text}` });
    expect(secondImplementations(faulty, [single])).toEqual([`another ${single.name} in client/src/own.ts`]);
    expect(secondImplementations(planted({ 'client/src/own.ts': `// ${text}` }), [single])).toEqual([
      `no ${single.name} in ${single.home}`,
    ]);
  });
});

describe('fences', () => {
  test('each library is imported by its own files only', () => {
    expectNone('libraries', fenceBreaks(tree, LIBRARIES, { countTypes: true }));
  });

  test('no other library is imported, except zod in the agents', () => {
    expect(librariesOf(tree)).toEqual([...Object.keys(LIBRARIES), 'zod'].sort());
    expect(new Set(importersOf(tree, (to) => to === 'zod').map(workspaceOf))).toEqual(new Set(['agents']));
  });

  test('an adapter is imported by its wiring only', () => {
    expectNone('adapters', fenceBreaks(tree, ADAPTERS, { countTypes: false }));
  });

  test('SQLite is imported by the store only', () => {
    for (const file of importersOf(tree, (to) => to === 'node:sqlite'))
      expect(file).toMatch(/^agents\/src\/store\//);
  });

  test('a planted import of a library, of an adapter and a fence around nothing are found', () => {
    const faulty = planted({
      'sentinel/src/a.ts': "import type { WebSocket } from 'ws';",
      'client/src/b.ts': "import { openListener } from '../../sentinel/src/listener.ts';",
      'sentinel/src/listener.ts': "import { server } from '@scope/library/server';",
    });
    expect(librariesOf(faulty)).toEqual(['@scope/library', 'ws']);
    expect(fenceBreaks(faulty, { ws: ['sentinel/src/listener.ts'] }, { countTypes: true })).toEqual([
      'sentinel/src/a.ts imports ws',
      'sentinel/src/listener.ts lost ws',
    ]);
    expect(fenceBreaks(faulty, { 'sentinel/src/listener.ts': [] }, { countTypes: false })).toEqual([
      'client/src/b.ts imports sentinel/src/listener.ts',
    ]);
  });

  test('the entries of shared, of the client and of the hook load no module of Node', () => {
    const entries = ['shared/src/index.ts', 'client/src/index.ts', 'packages/react/src/index.ts'];
    for (const entry of entries) expect([...tree.sources.keys()]).toContain(entry);
    expect(nodeModulesBehind(tree, entries)).toEqual([]);
  });

  test('a planted module of Node behind an entry is found', () => {
    const faulty = planted({
      'shared/src/index.ts': "export { a } from './a.ts';",
      'shared/src/a.ts': "import { readFileSync } from 'node:fs';\nimport type { WebSocket } from 'ws';",
    });
    expect(nodeModulesBehind(faulty, ['shared/src/index.ts'])).toEqual(['node:fs']);
  });
});

describe('the environment', () => {
  test('is read in config.ts, and passed on as a whole where a process starts', () => {
    expectNone('environment', environmentReaders(tree, ENVIRONMENT));
  });

  test('planted readers are found', () => {
    const faulty = planted({
      'shared/src/a.ts': 'const level = process.env.FAME_LOG_LEVEL;',
      'shared/src/b.ts': 'const { FAME_LOG_LEVEL } = process.env;',
      'shared/src/c.ts': 'start(process.env);',
      'sentinel/src/config.ts': '/** @default process.env */\nconst port = process.env.PORT;',
    });
    expect(environmentReaders(faulty, ENVIRONMENT)).toEqual([
      'shared/src/a.ts reads a variable',
      'shared/src/b.ts reads a variable',
      'shared/src/c.ts reads the environment',
    ]);
  });
});

describe('HD11: time', () => {
  test('wall time is read by the listed files only', () => {
    expect(wallTimeReaders(tree)).toEqual(Object.keys(WALL_TIME).sort());
  });

  test('timers without a clock are set by the listed files only', () => {
    expect(timerSetters(tree)).toEqual(Object.keys(TIMERS).sort());
  });

  test('planted readers of wall time and planted timers are found', () => {
    const faulty = planted({
      'agents/src/a.ts': 'const at = Date.now();',
      'agents/src/b.ts': 'const { now = Date.now } = options;',
      'agents/src/c.ts': 'const until = this.#deps.clock.now() + ms;',
      'agents/src/d.ts': 'const year = new Date().getFullYear();',
      'agents/src/e.ts': 'const until = clock.monotonic() + ms; // not Date.now()',
      'agents/src/f.ts': 'setTimeout(close, 5);',
      'agents/src/g.ts': 'socket.setTimeout(5);',
    });
    const names = (files: readonly string[]) => files.map((file) => file.at(-4)).join('');
    expect([names(wallTimeReaders(faulty)), names(timerSetters(faulty))]).toEqual(['abcd', 'f']);
  });
});

describe('connections outwards', () => {
  test('are opened by the listed files only', () => {
    expect(outwardConnections(tree)).toEqual(OUTWARD);
  });

  test('WebSockets are opened by the transports of the link only', () => {
    expect(webSocketDialers(tree)).toEqual([
      'shared/src/link/web-transport.ts',
      'shared/src/link/ws-transport.ts',
    ]);
  });

  test('planted connections are found', () => {
    const faulty = planted({
      'agents/src/a.ts': 'const page = await fetch(url);',
      'agents/src/b.ts': "import { get, request } from 'node:https';",
      'agents/src/c.ts': "import { Agent } from 'undici';",
      'agents/src/d.ts': 'const page = await options.fetch(url); // fetch(url)',
      'agents/src/e.ts': 'const socket = new WebSocket(url);',
    });
    expect(outwardConnections(faulty)).toEqual(['agents/src/a.ts', 'agents/src/b.ts', 'agents/src/c.ts']);
    expect(webSocketDialers(faulty)).toEqual(['agents/src/e.ts']);
  });
});

describe('side effects', () => {
  /** Changes that importing each module makes in a process of its own. */
  const changesBy = (modules: readonly string[]): Record<string, string[]> =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [
          '--conditions=fame-source',
          '--disable-warning=ExperimentalWarning',
          'test/kit/side-effects.mjs',
          ...modules,
        ],
        { cwd: ROOT, encoding: 'utf8' },
      ),
    );

  test('importing a package by any of its exports changes nothing in the process', () => {
    const modules = WORKSPACES.flatMap((folder) =>
      Object.keys(tree.packages[folder]!.exports ?? {})
        .filter((key) => !key.includes('*') && key !== './testing')
        .map((key) => `@fame-fabric/${basename(folder)}${key.slice(1)}`),
    );
    const changes = Object.entries(changesBy(modules)).filter(([, list]) => list.length > 0);
    expectNone(
      'side effects',
      changes.map(([name, list]) => `${name}: ${list.join('; ')}`),
    );
  });

  test.each([
    [
      'a flag of V8',
      "import v8 from 'node:v8'; v8.setFlagsFromString('--stack-size=984')",
      'v8.setFlagsFromString(--stack-size=984)',
    ],
    ['a timer', 'setInterval(() => {}, 9)', ', Timeout'],
    ['a listener', "process.on('SIGTERM', () => {})", 'listeners: '],
    ['output', "console.error('hello')", 'stderr.write(hello\n)'],
    ['a variable', "process.env.FAME_PLANTED = '1'", 'environment: '],
    ['an exit code', 'process.exitCode = 3', 'exitCode: null -> 3'],
    ['a global', 'globalThis.planted = 1', 'globals:  -> planted'],
    [
      'a server',
      "import net from 'node:net'; net.createServer().listen(0, '127.0.0.1').unref()",
      'net.listen()',
    ],
  ])('a planted import that leaves %s is found', (_name, code, change) => {
    const module = `data:text/javascript,${encodeURIComponent(code)}`;
    expect(changesBy([module])[module]!.join('; ')).toContain(change);
  });
});
