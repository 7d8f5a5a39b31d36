// The operations of every agent with conversations that this package has, on every store.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChatAgent } from './conversation/chat-agent.ts';
import type { AgentKind, StoreKind } from './conversation/conformance/subject.conformance.ts';
import { operationsConformance } from './conversation/operations.conformance.ts';
import { RefineAgent } from './refine/refine-agent.ts';
import { MemoryStore } from './store/memory-store.ts';
import { SqliteStore } from './store/sqlite/sqlite-store.ts';
import { loadTeam } from './team/load-team.ts';
import { TeamAgent } from './team/team-agent.ts';
import { callTools, reply } from './testing/script.ts';

const limits = ({ maxCalls }: { maxCalls?: number | undefined }) =>
  maxCalls === undefined ? {} : { budget: { conversation: { maxModelCalls: maxCalls } } };

const chat: AgentKind = {
  name: 'chat',
  address: 'chat@fame.fabric',
  build: ({ maxCalls, ...parts }) => new ChatAgent({ ...parts, ...limits({ maxCalls }) }),
  says: reply,
  answer: (text) => text,
  restState: 'working',
  takes: ['tools', 'tool_choice', 'response_format', 'temperature', 'max_tokens', 'stop', 'model'],
  hasTools: true,
};

const team: AgentKind = {
  name: 'team',
  address: 'team@fame.fabric',
  async build({ model, store, maxCalls }) {
    const agents = { first: { system_directives: 'You answer.' } };
    const loaded = await loadTeam({ start: 'first', agents }, { models: { default: model } });
    return new TeamAgent({ team: loaded, store, ...limits({ maxCalls }) });
  },
  says: reply,
  answer: (text) => text,
  restState: 'working',
  takes: ['temperature', 'max_tokens'],
  hasTools: false,
};

const refine: AgentKind = {
  name: 'refine',
  address: 'refine@fame.fabric',
  build: ({ model, store }) =>
    new RefineAgent({ models: { default: model, smart: model }, store, maxIterations: 100 }),
  says: (text) =>
    callTools({ name: 'refine_requirements', arguments: { reformulated_goal: text, questions: ['And?'] } }),
  answer: (text) => `${text}\n\n1. And?`,
  restState: 'input-required',
  takes: ['temperature', 'max_tokens'],
  hasTools: false,
};

function memory(): StoreKind {
  let store: MemoryStore;
  return {
    name: 'in memory',
    isDurable: false,
    async open(isAgain) {
      if (!isAgain) store = new MemoryStore();
      return store;
    },
    remove() {},
  };
}

function sqlite(): StoreKind {
  let directory = '';
  return {
    name: 'SQLite',
    isDurable: true,
    open(isAgain) {
      if (!isAgain) directory = mkdtempSync(join(tmpdir(), 'fame-operations-'));
      return SqliteStore.open({ path: join(directory, 'conversations.db') });
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

for (const kind of [chat, team, refine])
  for (const store of [memory(), sqlite()]) operationsConformance(kind, store);
