// `fame acp` as a process: an editor, the client side of the official ACP library, talks to a chat agent in another process, and each of the
// processes is killed in the middle of an answer.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import * as acp from '@agentclientprotocol/sdk';
import { callTools, type FakeOpenAI, gate, type ServerReply, stall } from '@fame-fabric/agents/testing';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { cleanEnv, fameArgs, freePort, ROOT } from '../kit/processes.ts';
import { admissionUrl, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { startAgent, startModel, stopStack } from '../kit/stack.ts';

type Answer = string | ServerReply | ServerReply['steps'];

let sentinel: OurSentinel;
let model: FakeOpenAI;
/** Answers of the model, by the message of the user. */
const answers = new Map<string, () => Answer>();
beforeAll(async () => {
  sentinel = await startOurSentinel();
  model = await startModel({
    respond({ messages }) {
      const { role, content } = messages.at(-1)!;
      return role === 'tool' ? `The result is ${content}.` : answers.get(String(content))!();
    },
  });
});
afterAll(stopStack);

const editors: Editor[] = [];
afterEach(async () => {
  for (const editor of editors.splice(0)) await editor.kill();
});

class Editor {
  readonly updates: acp.SessionUpdate[] = [];
  readonly #child: ChildProcess;
  readonly #connection: acp.ClientConnection;
  #output = '';
  #errors = '';

  constructor(env: Record<string, string>, ...args: string[]) {
    this.#child = spawn(process.execPath, fameArgs('acp', ...args), { env: cleanEnv(env) });
    editors.push(this);
    const { stdin, stdout, stderr } = this.#child;
    stdout!.on('data', (bytes: Buffer) => {
      this.#output += bytes.toString('utf8');
    });
    stderr!.on('data', (bytes: Buffer) => {
      this.#errors += bytes.toString('utf8');
    });
    const stream = acp.ndJsonStream(
      Writable.toWeb(stdin!),
      Readable.toWeb(stdout!) as ReadableStream<Uint8Array>,
    );
    this.#connection = acp
      .client({ name: 'test-editor' })
      .onNotification(
        acp.methods.client.session.update,
        ({ params }) => void this.updates.push(params.update),
      )
      .onRequest(acp.methods.client.session.requestPermission, () => ({
        outcome: { outcome: 'selected', optionId: 'allow' },
      }))
      .connect(stream);
  }

  /** Standard output so far. */
  get output(): string {
    return this.#output;
  }

  /** Standard error so far. */
  get errors(): string {
    return this.#errors;
  }

  initialize(): Promise<acp.InitializeResponse> {
    return this.#connection.agent.request(acp.methods.agent.initialize, {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: {},
    });
  }

  async session(): Promise<string> {
    await this.initialize();
    const params: acp.NewSessionRequest = { cwd: '/home/ada', mcpServers: [] };
    return (await this.#connection.agent.request(acp.methods.agent.session.new, params)).sessionId;
  }

  async load(sessionId: string): Promise<void> {
    await this.initialize();
    const params: acp.LoadSessionRequest = { sessionId, cwd: '/home/ada', mcpServers: [] };
    await this.#connection.agent.request(acp.methods.agent.session.load, params);
  }

  prompt(sessionId: string, text: string): Promise<acp.PromptResponse> {
    const params: acp.PromptRequest = { sessionId, prompt: [{ type: 'text', text }] };
    return this.#connection.agent.request(acp.methods.agent.session.prompt, params);
  }

  cancel(sessionId: string): Promise<void> {
    return this.#connection.agent.notify(acp.methods.agent.session.cancel, { sessionId });
  }

  /** Text of the agent's messages, one for each message. */
  get messages(): string[] {
    const messages = new Map<string, string>();
    for (const update of this.updates) {
      if (update.sessionUpdate !== 'agent_message_chunk' || update.content.type !== 'text') continue;
      messages.set(update.messageId!, (messages.get(update.messageId!) ?? '') + update.content.text);
    }
    return [...messages.values()];
  }

  /** Closes its standard input, as an editor that ends does. Resolves to the exit code. */
  async quit(): Promise<number | null> {
    this.#child.stdin!.end();
    return this.#exited();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited();
    this.#connection.close();
  }

  async #exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }
}

const open = (...args: string[]): Editor => new Editor({ FAME_DIRECT_ADMISSION_URL: sentinel.url }, ...args);
const agentOptions = (more: Record<string, string> = {}) => ({
  model,
  env: { FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token'), ...more },
});

test('an editor runs prompts, approves a tool and cancels, and stdout carries the protocol only', async () => {
  const agent = await startAgent(sentinel.url, agentOptions({ FAME_APPROVE_TOOLS: 'calculator' }));
  answers.set('Hello', () => ['Hello, ', 'Ada']);
  answers.set('Wait', () => ['Well', stall()]);
  const editor = open();
  const id = await editor.session();
  expect(await editor.prompt(id, 'Hello')).toMatchObject({ stopReason: 'end_turn' });
  expect(editor.messages).toEqual(['Hello, Ada']);
  answers.set('6 * 7?', () => callTools({ name: 'calculator', arguments: { expression: '6*7' } }));
  expect(await editor.prompt(id, '6 * 7?')).toMatchObject({ stopReason: 'end_turn' });
  expect(editor.messages.at(-1)).toContain('42');
  expect(editor.updates.filter(({ sessionUpdate }) => sessionUpdate.startsWith('tool_call'))).toMatchObject([
    { title: 'calculator', status: 'pending' },
    { status: 'in_progress' },
    { status: 'completed' },
  ]);
  const waiting = editor.prompt(id, 'Wait');
  await vi.waitFor(() => expect(editor.messages).toContain('Well'));
  await editor.cancel(id);
  expect(await waiting).toMatchObject({ stopReason: 'cancelled' });
  expect(await editor.quit()).toBe(0);
  for (const line of editor.output.trim().split('\n'))
    expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' });
  expect(await agent.stop()).toMatchObject({ code: 0 });
});

test('an agent that is killed in the middle of an answer starts it again, and the editor shows that', async () => {
  const dataDir = temporaryDirectory();
  const agent = await startAgent(sentinel.url, { ...agentOptions(), dataDir });
  answers.set('Story', () => ['Once upon', stall()]);
  const editor = open();
  const id = await editor.session();
  const running = editor.prompt(id, 'Story');
  await vi.waitFor(() => expect(editor.messages).toEqual(['Once upon']));
  await agent.kill();
  answers.set('Story', () => ['A different story']);
  const next = await startAgent(sentinel.url, { ...agentOptions(), dataDir });
  expect(await running).toMatchObject({ stopReason: 'end_turn' });
  expect(editor.messages).toEqual([
    'Once upon',
    expect.stringMatching(/started this answer again[\s\S]*A different story$/),
  ]);
  const again = open();
  await again.load(id);
  expect(again.messages).toEqual(['A different story']);
  expect(await next.stop()).toMatchObject({ code: 0 });
});

test('an editor that is killed with `fame acp` in the middle of an answer loads all of it', async () => {
  const agent = await startAgent(sentinel.url, agentOptions());
  const rest = gate();
  let calls = 0;
  answers.set('Poem', () => {
    calls += 1;
    return ['Roses ', rest, 'are red'];
  });
  const first = open();
  const id = await first.session();
  first.prompt(id, 'Poem').catch(() => {}); // its connection is cut
  await vi.waitFor(() => expect(first.messages).toEqual(['Roses ']));
  await first.kill();
  const second = open();
  await second.load(id);
  rest.open();
  await vi.waitFor(() => expect(second.messages).toEqual(['Roses are red']));
  expect(calls).toBe(1);
  expect(await agent.stop()).toMatchObject({ code: 0 });
});

test('the settings in the guide start it', async () => {
  const guide = readFileSync(join(ROOT, 'docs/guides/editors.md'), 'utf8');
  const settings = [...guide.matchAll(/^```json\n([\s\S]*?)^```/gm)].map(([, text]) => JSON.parse(text!));
  expect(settings.length).toBe(2);
  for (const { agent_servers } of settings) {
    const { command, args } = agent_servers.Fame as { command: string; args: string[] };
    expect([command, ...args]).toEqual(['npx', '-y', 'fame-fabric', 'acp']);
  }
  expect(guide).toContain('args = { "-y", "fame-fabric", "acp" }');
  expect(await open().initialize()).toMatchObject({ agentInfo: { title: 'chat@fame.fabric' } });
});

test('without a sentinel, a session fails with the reason; --url and --agent name others', async () => {
  const url = admissionUrl(await freePort());
  const editor = new Editor({ FAME_CONNECT_TIMEOUT_MS: '300' }, '--url', url, '--agent', 'other@fame.fabric');
  expect(await editor.initialize()).toMatchObject({ agentInfo: { title: 'other@fame.fabric' } });
  await expect(editor.session()).rejects.toMatchObject({ data: { code: 'LINK_TIMEOUT' } });
  expect(await editor.quit()).toBe(0);
});
