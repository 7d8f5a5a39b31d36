// `fame dev` as a process: it serves the agents of a file, restarts them when the file changes, and leaves no process behind.
import { symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, freePort, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { admissionUrl, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CTRL_C, startInTerminal } from '../kit/terminal.ts';

const SHOP = 'shop@fame.fabric';
let project: string;
let port: number;
const clients: Client[] = [];

beforeEach(async () => {
  project = temporaryDirectory();
  port = await freePort();
  symlinkSync(join(ROOT, 'node_modules'), join(project, 'node_modules'));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

const write = (file: string, text: string): void => writeFileSync(join(project, file), text);
const args = (...files: string[]): string[] => fameArgs('dev', ...files, '--port', String(port));
const env = (): Record<string, string> => ({ FAME_DATA_DIR: join(project, '.fame'), FAME_PLUGINS: 'x' });
const dev = (...files: string[]): Proc =>
  startNode(args(...files), { name: 'fame dev', cwd: project, env: env() });

async function attach(): Promise<Client> {
  const client = await connect({ url: admissionUrl(port) });
  clients.push(client);
  return client;
}

/** A project with an agent that returns a price from another file, and the id of its process. */
function writeShop(): void {
  write('price.ts', "export const price = (item: string): string => item + ': 1';\n");
  write(
    'shop.ts',
    `import { defineAgent, operation } from '@fame-fabric/agents';
    import { z } from 'zod';
    import { price } from './price.ts';
    export const shop = defineAgent({
      address: '${SHOP}',
      operations: {
        price: operation({ params: z.object({ item: z.string() }), run: ({ item }) => price(item) }),
        pid: operation({ run: () => process.pid }),
      },
    });`,
  );
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Waits until the new output of `proc` matches, and returns it. */
async function next(proc: Proc, pattern: RegExp): Promise<string> {
  await proc.waitFor(pattern);
  const { output } = proc;
  proc.output = '';
  return output;
}

test('a change of an imported file restarts the agent, and a broken file is reported until it is repaired', async () => {
  writeShop();
  const proc = dev('shop.ts');
  const warning = 'These variables of naylence have no effect here: FAME_PLUGINS';
  expect(await next(proc, /npx fame-fabric describe shop@fame\.fabric/)).toContain(warning);
  const client = await attach();
  expect(await client.call(SHOP, 'price', { item: 'tea' })).toBe('tea: 1');
  write('price.ts', "export const price = (item: string): string => item + ': 2';\n");
  const restarted = await next(proc, /price\.ts has changed[\s\S]*Restarted shop\.ts in \d+ ms/);
  expect(restarted).not.toContain(warning);
  expect(await client.call(SHOP, 'price', { item: 'tea' })).toBe('tea: 2');
  write('price.ts', "export const price = (item: string): string => item + (': 3';\n");
  await next(proc, /SyntaxError[\s\S]*shop\.ts ended with exit code 1\. Waiting for a change of its files/);
  write('price.ts', "export { price } from './missing.ts';\n");
  await next(proc, /ERR_MODULE_NOT_FOUND[\s\S]*Waiting for a change of its files/);
  write('missing.ts', "export const price = (item: string): string => item + ': 4';\n");
  await next(proc, /Restarted shop\.ts/);
  expect(await client.call(SHOP, 'price', { item: 'tea' })).toBe('tea: 4');
  expect(await proc.stop('SIGTERM', 30_000)).toEqual({ code: 0, signal: null });
});

test('a conversation continues after a restart', async () => {
  const source = (prompt: string): string => `
    import { ChatAgent, offlineModel, runAgents, SqliteStore } from '@fame-fabric/agents';
    const store = await SqliteStore.open({ path: 'conversations.db' });
    const talk = new ChatAgent({ address: 'talk@fame.fabric', model: offlineModel(), store, systemPrompt: '${prompt}' });
    if (import.meta.main) {
      process.exitCode = await runAgents([talk]);
      await store.close();
    }`;
  write('talk.ts', source('first'));
  const proc = dev('talk.ts');
  await next(proc, /npx fame-fabric chat talk@fame\.fabric/);
  const conversation = (await attach()).conversation('talk@fame.fabric');
  await conversation.ask('My name is Ada.');
  write('talk.ts', source('second'));
  await next(proc, /Restarted talk\.ts/);
  expect(await conversation.describe()).toMatchObject({ system_prompt: 'second' });
  expect(await conversation.ask('What is my name?')).toContain('Ada');
});

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('%s leaves no process', async (signal) => {
  writeShop();
  const proc = dev('shop.ts');
  await next(proc, /npx fame-fabric describe/);
  const pid = (await (await attach()).call(SHOP, 'pid')) as number;
  expect(isAlive(pid)).toBe(true);
  await proc.stop(signal, 30_000);
  await eventually(() => expect(isAlive(pid)).toBe(false));
});

test('a second signal kills an agent that is blocked, and messages of the agent itself are ignored', async () => {
  write(
    'busy.ts',
    `import { defineAgent, operation } from '@fame-fabric/agents';
    process.send?.('ready');
    export const busy = defineAgent({
      address: 'busy@fame.fabric',
      operations: {
        block: operation({
          run() {
            console.error('blocked', process.pid);
            for (;;);
          },
        }),
      },
    });`,
  );
  const proc = dev('busy.ts');
  await proc.waitFor(/npx fame-fabric describe/);
  (await attach()).call('busy@fame.fabric', 'block').catch(() => {});
  const pid = Number((await proc.waitFor(/blocked (\d+)/))[1]);
  onTestFinished(() => void (isAlive(pid) && process.kill(pid, 'SIGKILL')));
  proc.child.kill('SIGTERM');
  proc.child.kill('SIGINT');
  expect([130, 143]).toContain((await proc.exited).code);
  await eventually(() => expect(isAlive(pid)).toBe(false));
});

test('Ctrl-C in a terminal lets a running call finish', async () => {
  write(
    'slow.ts',
    `import { defineAgent, operation } from '@fame-fabric/agents';
    export const slow = defineAgent({
      address: 'slow@fame.fabric',
      operations: {
        wait: operation({
          async run(_, { signal }) {
            console.error('waiting');
            await new Promise((resolve) => process.once('SIGTERM', () => setTimeout(resolve, 300)));
            return [process.pid, signal.aborted];
          },
        }),
      },
    });`,
  );
  const terminal = startInTerminal(args('slow.ts'), { cwd: project, env: env() });
  await terminal.waitFor(/npx fame-fabric describe/);
  const answer = (await attach()).call('slow@fame.fabric', 'wait') as Promise<[number, boolean]>;
  await terminal.waitFor(/waiting/);
  terminal.type(CTRL_C);
  const [pid, wasAborted] = await answer;
  expect(wasAborted).toBe(false);
  expect(await terminal.exited).toMatchObject({ code: 0 });
  await eventually(() => expect(isAlive(pid)).toBe(false));
});

test('a sentinel that answers already is used', async () => {
  await startOurSentinel({ port });
  writeShop();
  const proc = dev('shop.ts');
  await next(proc, /Using the sentinel at ws:\/\/127\.0\.0\.1:\d+[\s\S]*npx fame-fabric describe/);
  expect(await (await attach()).call(SHOP, 'price', { item: 'tea' })).toBe('tea: 1');
});

test('a port of another program, a file without agents and a missing file are reported', async () => {
  writeShop();
  const server = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const busy = dev('shop.ts');
  expect(await busy.exited).toMatchObject({ code: 1 });
  expect(busy.output).toContain(String(port));
  await new Promise((resolve) => server.close(resolve));
  write('empty.ts', 'export const answer = 42;\n');
  const empty = dev('empty.ts');
  await empty.waitFor(/empty\.ts exports no agent and does not call runAgents[\s\S]*Waiting for a change/);
  const missing = dev('nothing.ts');
  expect(await missing.exited).toMatchObject({ code: 2 });
  expect(missing.output).toContain('There is no file "nothing.ts"');
});
