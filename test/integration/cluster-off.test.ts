// Cost of the cluster where it is off: without its settings, `fame sentinel` and `fame agent` load no module of it, and no client of NATS
// or PostgreSQL. V8 lists the loaded modules when a process exits.
import { globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { clusterEnv, NATS_SERVER, startNats } from '../kit/nats.ts';
import { fameArgs, freePort, ROOT, startNode } from '../kit/processes.ts';
import { listNodes, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const MODULES =
  /^(?:@nats-io\/|nkeys|nuid|pg[-/]|sentinel\/src\/cluster\/|agents\/(?:src|dist)\/store\/postgres\/)/;
/** The two modules that read the settings. */
const SETTINGS = /^(?:sentinel\/src\/cluster\/settings|agents\/(?:src|dist)\/store\/postgres\/store-url)\./;

/** Modules of a bundle: the bundler writes the path of each before its code. */
const bundledIn = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^\/\/ (src\/\S+\.ts)$/gm)].map(([, path]) => path!);

/** Names of the packages and modules that a process loaded. It must have been started with `NODE_V8_COVERAGE` and have exited. */
function loadedBy(coverage: string): string[] {
  const urls = globSync('*.json', { cwd: coverage }).flatMap((name) =>
    (JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: { url: string }[] }).result.map(
      ({ url }) => url,
    ),
  );
  const files = [...new Set(urls)].filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const names = files.flatMap((file) => {
    const path = relative(ROOT, file);
    const inPackage = path.split('node_modules/').at(-1)!;
    if (inPackage !== path) return inPackage;
    const [folder] = path.split('/dist/bundle/');
    return folder === path ? path : bundledIn(file).map((module) => `${folder}/${module}`);
  });
  return [...new Set(names)].toSorted();
}

/** Runs a sentinel and an agent until the agent is attached or has exited. Returns the modules of a cluster that each loaded. */
async function modulesOf(
  env: Readonly<Record<string, string>>,
): Promise<{ sentinel: string[]; agent: string[] }> {
  const coverage = { sentinel: temporaryDirectory(), agent: temporaryDirectory() };
  const sentinel = await startOurSentinel({ env: { NODE_V8_COVERAGE: coverage.sentinel, ...env } });
  const agent = startNode(fameArgs('agent', 'chat'), {
    env: {
      NODE_V8_COVERAGE: coverage.agent,
      FAME_DATA_DIR: sentinel.dataDir,
      FAME_DIRECT_ADMISSION_URL: sentinel.url,
      OPENAI_API_KEY: 'none',
      OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
      MODEL_NAME: 'none',
      ...env,
    },
  });
  await eventually(async () => {
    const isAttached = (await listNodes(sentinel)).some(({ addresses }) => addresses.length > 0);
    expect(isAttached || !agent.alive).toBe(true);
  });
  await agent.stop();
  await sentinel.proc.stop();
  const clusterModules = (directory: string): string[] =>
    loadedBy(directory).filter((name) => MODULES.test(name) && !SETTINGS.test(name));
  return { sentinel: clusterModules(coverage.sentinel), agent: clusterModules(coverage.agent) };
}

test('without its settings, a sentinel and an agent load no module of a cluster', async () => {
  expect(await modulesOf({})).toEqual({ sentinel: [], agent: [] });
});

test.skipIf(!NATS_SERVER.isUsable)('with its settings, they load the modules of a cluster', async () => {
  const nats = await startNats();
  // No database: the agent has loaded its client before it exits.
  const port = await freePort();
  const { sentinel, agent } = await modulesOf({
    ...clusterEnv(nats, 'one'),
    FAME_STORE_URL: `postgres://fame:secret@127.0.0.1:${port}/fame`,
  });
  expect(sentinel).toContain('sentinel/src/cluster/pair.ts');
  expect(sentinel).toContainEqual(expect.stringMatching(/^@nats-io\/transport-node\//));
  expect(agent).toContainEqual(expect.stringMatching(/^agents\/(?:src|dist)\/store\/postgres\/connection\./));
  expect(agent).toContainEqual(expect.stringMatching(/^pg\//));
});
