// A whole fabric for one suite: a fake model server inside the test, a sentinel and a chat agent as processes of the built
// command, and clients over real sockets. Suites that import this file test the build, `dist/fame.js`, not the sources.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FakeOpenAI, type FakeOpenAIOptions, type Gate, type WireRequest } from '@fame-fabric/agents/testing';
import type { Client, ClientOptions, Conversation, ConversationOptions } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { fameArgs, type Proc, ROOT, startNode, stopAll } from './processes.ts';
import {
  type OurSentinel,
  type OurSentinelOptions,
  startOurSentinel,
  temporaryDirectory,
} from './sentinel.ts';

process.env.FAME_TEST_FROM = 'dist';
if (!existsSync(join(ROOT, 'dist/fame.js'))) {
  throw new Error('These tests run the built command: `npm run build` first, or `npm test`, which builds.');
}

export const CHAT = 'chat@fame.fabric';
export const API_KEY = 'sk-test-0123456789abcdef';

/** A step of a scripted answer that pauses it for `ms` milliseconds. */
export function pause(ms: number): Gate {
  const opened = Promise.withResolvers<void>();
  return { wait: opened.promise, arrive: () => void setTimeout(opened.resolve, ms) };
}

/** The text of the last user message of a request. */
export const lastUserText = (request: { messages: readonly { role: string; content?: unknown }[] }): string =>
  String(request.messages.findLast(({ role }) => role === 'user')?.content ?? '');

const models = new Set<FakeOpenAI>();
const clients = new Set<Client>();

/** A fake model server; `stopStack` closes it. Without `respond` it answers `re: <the user's text>`. */
export async function startModel(options: FakeOpenAIOptions = {}, port?: number): Promise<FakeOpenAI> {
  const respond = (request: WireRequest) => `re: ${lastUserText(request)}`;
  const model = await new FakeOpenAI({ respond, ...options }).listen(port);
  models.add(model);
  return model;
}

export interface AgentProcessOptions {
  /** @default the built-in model */
  model?: { readonly url: string };
  env?: Record<string, string>;
  /** Agents by name. @default the chat agent */
  names?: readonly string[];
  /** That of an earlier process continues its conversations. @default a new directory */
  dataDir?: string;
}

/** Starts `fame agent` and waits until its agents are served. */
export async function startAgent(url: string, options: AgentProcessOptions = {}): Promise<Proc> {
  const proc = spawnAgent(url, options);
  await proc.waitFor(/ is served through /);
  return proc;
}

/** Starts `fame agent` without waiting for it. */
export function spawnAgent(url: string, options: AgentProcessOptions = {}): Proc {
  const { model, env, names = [], dataDir = temporaryDirectory() } = options;
  return startNode(fameArgs('agent', ...names), {
    name: `agent ${names.join(' ')}`,
    env: {
      FAME_DIRECT_ADMISSION_URL: url,
      FAME_DATA_DIR: dataDir,
      ...(model ? { OPENAI_API_KEY: API_KEY, OPENAI_BASE_URL: model.url } : {}),
      ...env,
    },
  });
}

/** A client over real sockets; `stopStack` closes it. */
export async function openClient(url: string, options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = await connect({ url, ...options });
  clients.add(client);
  return client;
}

/** Starts a conversation with the chat agent. */
export async function converse(client: Client, options: ConversationOptions = {}): Promise<Conversation> {
  const conversation = client.conversation(CHAT, options);
  await conversation.start();
  return conversation;
}

export interface Stack {
  model: FakeOpenAI;
  sentinel: OurSentinel;
  agent: Proc;
}

export async function startStack(
  options: { model?: FakeOpenAIOptions; sentinel?: OurSentinelOptions; agent?: AgentProcessOptions } = {},
): Promise<Stack> {
  const [model, sentinel] = await Promise.all([
    startModel(options.model),
    startOurSentinel(options.sentinel),
  ]);
  const agent = await startAgent(sentinel.url, { model, ...options.agent });
  return { model, sentinel, agent };
}

/** Closes clients, processes and models. For `afterAll`. @throws if a model received a request that the OpenAI API refuses */
export async function stopStack(): Promise<void> {
  await Promise.all([...clients].map((client) => client.close()));
  clients.clear();
  await stopAll();
  await Promise.all([...models].map((model) => model.close()));
  const closed = [...models];
  models.clear();
  for (const model of closed) model.assertValid();
}
