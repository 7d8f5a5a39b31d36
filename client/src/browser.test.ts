import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

// esbuild follows what a browser would load, so a Node module anywhere below index.ts fails here, by its name.
const bundle = (entry: string) =>
  build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    write: false,
    metafile: true,
    format: 'iife',
    globalName: 'fame',
    platform: 'browser',
    conditions: ['fame-source'],
    logLevel: 'silent',
  });

test('the client library bundles for a browser without any Node module or Node-only package', async () => {
  const { metafile } = await bundle('./index.ts');
  const inputs = Object.entries(metafile.inputs);
  const imports = inputs.flatMap(([, { imports: list }]) => list.map(({ path }) => path));
  expect(imports.filter((path) => isBuiltin(path))).toEqual([]);
  expect(
    inputs.map(([path]) => path).filter((path) => /node_modules\/(ws|pino|fastify)\//.test(path)),
  ).toEqual([]);
});

test('the bundle runs with the globals of a browser only', async () => {
  const { outputFiles } = await bundle('./index.ts');
  const dialled: string[] = [];
  class DeadWebSocket {
    onerror: (() => void) | null = null;
    constructor(url: string) {
      dialled.push(url);
      queueMicrotask(() => this.onerror?.());
    }
    close(): void {}
  }
  const page = createContext({
    WebSocket: DeadWebSocket,
    AbortController,
    TextDecoder,
    TextEncoder,
    URL,
    clearInterval,
    clearTimeout,
    crypto,
    performance,
    queueMicrotask,
    setInterval,
    setTimeout,
  });
  runInContext(outputFiles[0]!.text, page);
  const connecting = runInContext(
    "fame.connect({ url: 'ws://nowhere.example/downstream', systemId: 'me', connectTimeoutMs: 1 })",
    page,
  );
  await expect(connecting).rejects.toMatchObject({ code: 'LINK_TIMEOUT' });
  expect(dialled).toEqual(['ws://nowhere.example/downstream/me']);
});

test('the check would find a Node module', async () => {
  await expect(bundle('./node.ts')).rejects.toThrow(/Could not resolve "(node:)?crypto"/);
});
