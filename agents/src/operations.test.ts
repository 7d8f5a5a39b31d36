// The operations of every agent of this package that has conversations, on every store.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChatAgent } from './conversation/chat-agent.ts';
import type {
  AgentKind,
  AgentParts,
  OwnTool,
  StoreKind,
} from './conversation/conformance/subject.conformance.ts';
import { operationsConformance } from './conversation/operations.conformance.ts';
import { RefineAgent } from './refine/refine-agent.ts';
import { MemoryStore } from './store/memory-store.ts';
import { SqliteStore } from './store/sqlite/sqlite-store.ts';
import { type AbilityDef, reply as forModel } from './team/ability.ts';
import { loadTeam } from './team/load-team.ts';
import { TeamAgent } from './team/team-agent.ts';
import { replicaPair } from './testing/replica-pair.ts';
import { callTools, reply } from './testing/script.ts';
import { tool } from './tools/tool.ts';
import { ToolSet } from './tools/tool-set.ts';

const budgetOf = ({ prices, hasOneCall }: AgentParts) => ({
  budget: { ...(prices ? { prices } : {}), ...(hasOneCall ? { conversation: { maxModelCalls: 1 } } : {}) },
});
/** A budget whose limit is the price of one reply of the scripted model. */
const ONE_CALL = { limitUsd: 0.005, prices: { scripted: { input: 0, output: 1_000 } } };

const chatAt = (name: string, address: string): AgentKind => ({
  name,
  address,
  build: (parts) => {
    const { model, store, tools, models } = parts;
    return new ChatAgent({
      address,
      model,
      store,
      tools: tools && new ToolSet(tools.map((one) => tool(one))),
      models,
      ...budgetOf(parts),
    });
  },
  says: reply,
  answer: (text) => text,
  restState: 'working',
  takes: [
    'tools',
    'tool_choice',
    'response_format',
    'temperature',
    'max_tokens',
    'stop',
    'model',
    'instructions',
    'truncation',
    'metadata',
  ],
  hasTools: true,
});

const chat = chatAt('chat', 'chat@fame.fabric');
/** One of several processes that serve the chat agent, without the others. */
const replica = chatAt('chat replica', 'chat@*.fame.fabric');
/** Two of them. Each call reaches the other one than the call before. */
const replicas: AgentKind = {
  ...replica,
  name: 'two chat replicas',
  passesCalls: true,
  async build(parts) {
    const store = new MemoryStore({ sharedWith: parts.store as MemoryStore });
    const agents = [await replica.build(parts), await replica.build({ ...parts, store })] as const;
    return replicaPair(agents, () => store.close());
  },
};

const team: AgentKind = {
  name: 'team',
  address: 'team@fame.fabric',
  async build(parts) {
    const { model, store, tools = [] } = parts;
    const functions = tools.map(({ name }) => ({ name }));
    const agents = { first: { system_directives: 'You answer.', functions } };
    const ability = ({ execute, ...more }: OwnTool): AbilityDef => ({
      ...more,
      execute: (args) => forModel.data(execute(args)),
    });
    const abilities = [Object.fromEntries(tools.map((one) => [one.name, ability(one)]))];
    const loaded = await loadTeam({ start: 'first', agents }, { models: { default: model }, abilities });
    return new TeamAgent({ team: loaded, store, ...budgetOf(parts) });
  },
  says: reply,
  answer: (text) => text,
  restState: 'working',
  takes: ['temperature', 'max_tokens'],
  hasTools: true,
};

const calls = (name: string, args: Record<string, unknown>) => callTools({ name, arguments: args });
const asks = (goal: string) => calls('refine_requirements', { reformulated_goal: goal, questions: ['And?'] });
const refine: AgentKind = {
  name: 'refine',
  address: 'refine@fame.fabric',
  build: ({ model, store, prices, hasOneCall }) =>
    new RefineAgent({
      models: { default: model, smart: model },
      store,
      maxIterations: 100,
      budget: hasOneCall ? ONE_CALL : prices && { limitUsd: 1_000_000, prices },
    }),
  says: asks,
  answer: (text) => `${text}\n\n1. And?`,
  ending: [
    ['A site', asks('A site')],
    ['A small one', calls('request_confirmation', { reformulated_goal: 'A small site', question: 'Right?' })],
    ['yes', calls('validate_requirements', { goal_sentence: 'Build a small site', goals: ['A page'] })],
  ],
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
for (const kind of [replica, replicas]) operationsConformance(kind, memory());
