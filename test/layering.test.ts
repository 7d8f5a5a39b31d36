// The house rules, re-derived from the sources on every run: which room may import which, the one file behind which each
// library lives, who reads the environment, who may open a connection because a stranger asked, and that nothing goes round
// in a circle. A rule that changes is changed here, with its reason in docs/decisions.
import { globSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';

const ROOMS = ['shared', 'sentinel', 'agents', 'client'] as const;

interface Import {
  /** A file of ours from the root, a package name or a `node:` module. */
  readonly to: string;
  /** Erased when compiled. */
  readonly isType: boolean;
}

const isTest = (file: string): boolean => /\.test\.ts$/.test(file);
/** Suites and programs that only tests use; they may do what products may not. */
const isKit = (file: string): boolean => /\/testing\/|\/testing\.ts$|\.(?:cases|conformance)\.ts$/.test(file);

const sources = new Map<string, string>();
for (const pattern of [
  '{shared,sentinel,agents,client}/src/**/*.ts',
  'bin/**/*.ts',
  'agents/examples/**/*.ts',
]) {
  for (const file of globSync(pattern, { cwd: ROOT })) {
    if (!isTest(file)) sources.set(file, readFileSync(join(ROOT, file), 'utf8'));
  }
}
// Examples are programs of their own: they wire what they like.
// Examples are what a user writes: programs on top of the packages, so they may use any of them.
const isExample = (file: string): boolean => file.startsWith('agents/examples/');

const products = [...sources.keys()].filter((file) => !isKit(file) && !isExample(file));

function targetOf(file: string, name: string): string {
  if (name.startsWith('.')) return join(dirname(file), name);
  const [, room, path = 'index'] = /^@fame-fabric\/([^/]+)(?:\/(.*))?$/.exec(name) ?? [];
  if (room) return `${room}/src/${path}.ts`;
  return isBuiltin(name)
    ? `node:${name.replace(/^node:/, '')}`
    : name.replace(/^(@[^/]+\/[^/]+|[^/]+).*$/, '$1');
}

function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (name: string, isType: boolean) => found.push({ to: targetOf(file, name), isType });
  for (const [, type, name] of text.matchAll(
    /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm,
  )) {
    add(name!, type !== undefined);
  }
  for (const [, name] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)) add(name!, false);
  // A thread is started from a URL; the name behind it ends in .ts or .js, whichever runs.
  for (const [, name] of text.matchAll(/\bnew URL\(\s*[`'](\.\/[\w-]+)/g)) {
    if (sources.has(targetOf(file, `${name}.ts`))) add(`${name}.ts`, false);
  }
  return found;
}

const graph = new Map([...sources].map(([file, text]) => [file, importsOf(file, text)]));
const roomOf = (file: string): string => file.slice(0, file.indexOf('/'));
const importersOf = (
  wanted: (to: string, isType: boolean) => boolean,
  files: readonly string[] = products,
): string[] => files.filter((file) => graph.get(file)!.some(({ to, isType }) => wanted(to, isType))).sort();

test('the sources are found, and every import of ours leads to one', () => {
  for (const room of ROOMS)
    expect(products.filter((file) => roomOf(file) === room).length).toBeGreaterThan(10);
  const lost = [...graph].flatMap(([file, imports]) =>
    imports
      .filter(({ to }) => /^(?:shared|sentinel|agents|client|bin)\//.test(to) && !sources.has(to))
      .map(({ to }) => `${file} -> ${to}`),
  );
  expect(lost).toEqual([]);
});

describe('arrows', () => {
  test.each(ROOMS)('%s imports itself and shared, and no other room', (room) => {
    const strays = [...graph].flatMap(([file, imports]) =>
      roomOf(file) !== room || isExample(file)
        ? []
        : imports
            .filter(({ to }) => sources.has(to) && ![room, 'shared'].includes(roomOf(to)))
            .map(({ to }) => `${file} -> ${to}`),
    );
    expect(strays).toEqual([]);
  });

  test('what ships does not import the test kit', () => {
    expect(importersOf((to) => sources.has(to) && isKit(to))).toEqual([]);
  });

  test('nothing goes round in a circle', () => {
    const state = new Map<string, 'open' | 'done'>();
    const circles: string[] = [];
    const visit = (file: string, way: readonly string[]): void => {
      state.set(file, 'open');
      for (const { to, isType } of graph.get(file) ?? []) {
        if (isType || !sources.has(to)) continue;
        if (state.get(to) === 'open') circles.push([...way.slice(way.indexOf(to)), to].join(' -> '));
        else if (!state.has(to)) visit(to, [...way, to]);
      }
      state.set(file, 'done');
    };
    for (const file of graph.keys()) if (!state.has(file)) visit(file, [file]);
    expect(circles).toEqual([]);
  });
});

describe('fences', () => {
  test.each([
    [
      'ws',
      [
        'sentinel/src/door/listener.ts',
        'sentinel/src/door/node-socket.ts',
        'shared/src/link/ws-transport.ts',
      ],
    ],
    ['fastify', ['sentinel/src/http/http.ts']],
    ['openai', ['agents/src/model/openai/openai-model.ts']],
    ['pino', ['shared/src/pino-log.ts']],
    ['nanoid', ['shared/src/ids.ts']],
    ['bufferutil', ['sentinel/src/door/unmask.ts']],
    ['yaml', ['agents/src/yaml/yaml-file.ts']],
  ])('%s is known to one place', (library, places) => {
    expect(importersOf((to) => to === library)).toEqual(places);
  });

  test('there is no library beside these, but for zod in the agents', () => {
    const packages = new Set(
      products.flatMap((file) => graph.get(file)!.map(({ to }) => to)).filter((to) => !/\/|^node:/.test(to)),
    );
    expect([...packages].sort()).toEqual([
      'bufferutil',
      'fastify',
      'nanoid',
      'openai',
      'pino',
      'ws',
      'yaml',
      'zod',
    ]);
    expect(new Set(importersOf((to) => to === 'zod').map(roomOf))).toEqual(new Set(['agents']));
  });

  test.each([
    ['sentinel/src/door/listener.ts', ['sentinel/src/sentinel.ts']],
    ['sentinel/src/http/http.ts', ['sentinel/src/sentinel.ts']],
    ['shared/src/link/ws-transport.ts', ['shared/src/node.ts']],
    ['shared/src/pino-log.ts', ['shared/src/node.ts']],
    ['agents/src/model/openai/openai-model.ts', ['agents/src/index.ts', 'agents/src/process/main.ts']],
    [
      'agents/src/store/sqlite/sqlite-store.ts',
      ['agents/src/index.ts', 'agents/src/internal.ts', 'agents/src/store/open-store.ts'],
    ],
  ])('%s is imported by its wiring only', (adapter, wiring) => {
    expect(importersOf((to, isType) => to === adapter && !isType)).toEqual(wiring);
  });

  test('SQLite is known to the store only', () => {
    for (const file of importersOf((to) => to === 'node:sqlite'))
      expect(file).toMatch(/^agents\/src\/store\//);
  });
});

test('the public list of shared, and of the client, reaches no module of Node', () => {
  const reached = new Set<string>();
  const walk = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const { to, isType } of graph.get(file) ?? []) if (!isType) walk(to);
  };
  walk('shared/src/index.ts');
  walk('client/src/index.ts');
  expect(reached).toContain('shared/src/link/link.ts');
  expect([...reached].filter((file) => /^node:|^ws$|^pino$/.test(file))).toEqual([]);
});

describe('the environment', () => {
  const readers = (pattern: RegExp): string[] =>
    products.filter((file) => pattern.test(sources.get(file)!)).sort();
  const READS_ONE = /\bprocess\.env(?:\.|\[|\?\.)|\}\s*=\s*process\.env\b/;

  test('a variable is read in config.ts alone, and no product sets one', () => {
    expect(readers(READS_ONE).filter((file) => !file.endsWith('/config.ts'))).toEqual([]);
  });

  test('as a whole it is handed over where a process begins', () => {
    for (const file of readers(/\bprocess\.env\b/)) {
      expect(file).toMatch(/^bin\/fame\.ts$|\/main\.ts$|^agents\/src\/process\//);
    }
  });
});

describe('connections outwards', () => {
  const opens = (file: string): boolean => {
    const text = sources.get(file)!.replace(/^\s*\/\/.*$/gm, '');
    const isClient = /import \{[^}]*\brequest\b[^}]*\} from 'node:https?'/.test(text);
    const dials = graph.get(file)!.some(({ to }) => ['undici', 'node:http2', 'node:dgram'].includes(to));
    return isClient || dials || /(?<![.\w])fetch\(/.test(text);
  };

  test('what a stranger asked for goes through safe-fetch; beside it, the command asks its own servers', () => {
    expect(products.filter(opens).sort()).toEqual([
      'agents/src/net/safe-fetch.ts',
      'bin/local/local-stack.ts',
      'bin/model-probe.ts',
      'bin/sentinel-http.ts',
    ]);
  });

  test('WebSockets are dialled by the transports of the link only', () => {
    const dialling = products.filter((file) => /\bnew WebSocket\(/.test(sources.get(file)!)).sort();
    expect(dialling).toEqual(['shared/src/link/web-transport.ts', 'shared/src/link/ws-transport.ts']);
  });
});
