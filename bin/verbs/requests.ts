// `fame requests ls | retry ID | rm ID`: the durable requests in the store of this machine, even while an agent uses it. Parameters
// and outcomes are never printed: they are private, and may be encrypted. Data goes to stdout, messages to stderr.
import {
  type AgentStore,
  type RequestState,
  type StoredRequest,
  storePath,
} from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { FabricError } from '@fame-fabric/shared';
import {
  cutText,
  type Environment,
  EXIT,
  escapeControls,
  escapeLine,
  formatTable,
  printableJson,
} from '@fame-fabric/shared/internal';
import { textFlag } from '../flags.ts';
import { openFoundStore } from '../open-found-store.ts';
import { writeMessage } from '../output.ts';
import { reportFault } from '../report-fault.ts';
import type { VerbInput } from '../verb.ts';

export interface RequestsOptions {
  readonly json: boolean;
  /** Lists dead requests only. @default false */
  readonly dead?: boolean | undefined;
  /** Address of an agent. @default every agent */
  readonly agent?: string | undefined;
  readonly env: Environment;
  /** Receives data. @default stdout */
  readonly print?: ((text: string) => void) | undefined;
  /** Receives messages for people. @default stderr */
  readonly write?: ((message: string) => void) | undefined;
}

const USAGE = 'Usage: npx fame-fabric requests [ls [--dead] | retry ID | rm ID] [--agent ADDRESS] [--json]';
const MAX_LISTED = 1_000;
const STATES: Readonly<Record<RequestState, string>> = {
  open: 'open',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
  dead: 'DEAD',
};

export function run(input: VerbInput): Promise<number> {
  const { positionals, flags, env } = input;
  return runRequests(positionals, {
    json: flags.json === true,
    dead: flags.dead === true,
    agent: textFlag(input, 'agent'),
    env,
  });
}

/** Runs one action. Resolves to its exit code: 0, 1 for a failure, 2 for wrong usage or configuration. */
export async function runRequests(words: readonly string[], options: RequestsOptions): Promise<number> {
  const { env, dead = false, agent, json } = options;
  const { print = (text) => void process.stdout.write(text), write = writeMessage } = options;
  const [action = 'ls', id, extra] = words;
  const fault = usageFault(action, id, extra, dead);
  if (fault !== undefined) {
    write(`${fault}\n${USAGE}`);
    return EXIT.usage;
  }
  let store: Awaited<ReturnType<typeof openFoundStore>>;
  try {
    store = await openFoundStore(env);
    const noStore = `There is no store ${storePath(readAgentConfig(env).dataDir)}`;
    if (action === 'ls') {
      const found = await store?.listRequests({ agent, state: dead ? 'dead' : undefined, limit: MAX_LISTED });
      if (json) print(`${printableJson((found ?? []).map(shownOf), 2)}\n`);
      else if (!found) write(`${noStore}, so there are no requests.`);
      else if (found.length === 0) write(`There are no ${dead ? 'dead ' : ''}requests in ${store?.place}.`);
      else print(`${tableOf(found)}\n`);
      return EXIT.ok;
    }
    if (!store) throw new FabricError('REQUEST_INVALID', `${noStore}.`);
    const request = await findOne(store, id!, agent);
    await (action === 'retry' ? retry(store, request) : remove(store, request));
    const outcome =
      action === 'retry'
        ? `${request.id} is open again. Its agent runs it within 5 s, or when it starts.`
        : `${request.id} is deleted.`;
    if (json) print(`${printableJson({ agent: request.agent, id: request.id, action }, 2)}\n`);
    else write(escapeControls(outcome));
    return EXIT.ok;
  } catch (error) {
    return reportFault(error, write);
  } finally {
    await store?.close();
  }
}

function usageFault(
  action: string,
  id: string | undefined,
  extra: string | undefined,
  dead: boolean,
): string | undefined {
  const quoted = (word: string): string => `"${escapeLine(cutText(word, 64))}"`;
  if (!['ls', 'retry', 'rm'].includes(action)) return `requests has no action ${quoted(action)}.`;
  if (action === 'ls') return id === undefined ? undefined : `requests ls takes no argument ${quoted(id)}.`;
  if (dead) return `requests ${action} takes no flag --dead.`;
  if (id === undefined) return `requests ${action} takes the id of a request.`;
  return extra === undefined ? undefined : `requests ${action} takes no argument ${quoted(extra)}.`;
}

/** @throws {REQUEST_INVALID} if there is none, or more than one agent has a request with this id */
async function findOne(store: AgentStore, id: string, agent: string | undefined): Promise<StoredRequest> {
  const [first, second] = await store.listRequests({ agent, id, limit: 2 });
  if (!first) throw new FabricError('REQUEST_INVALID', `There is no request ${id}.`);
  if (!second) return first;
  throw new FabricError(
    'REQUEST_INVALID',
    `Several agents have a request ${id}. Name one with --agent ADDRESS.`,
  );
}

async function retry(store: AgentStore, { agent, id, state }: StoredRequest): Promise<void> {
  if (await store.reviveRequest(agent, id)) return;
  throw new FabricError(
    'REQUEST_INVALID',
    `The request ${id} is ${state}. Only a dead request can be run again.`,
  );
}

async function remove(store: AgentStore, { agent, id }: StoredRequest): Promise<void> {
  if (await store.removeRequest(agent, id)) return;
  throw new FabricError('REQUEST_INVALID', `The request ${id} is open. Wait for its outcome.`);
}

/** The parts of a request that are shown. */
const shownOf = ({ agent, id, method, principal, state, attempt, acceptedAt, changedAt }: StoredRequest) => ({
  agent,
  id,
  method,
  principal,
  state,
  attempt,
  accepted_at: new Date(acceptedAt).toISOString(),
  changed_at: new Date(changedAt).toISOString(),
});

const tableOf = (requests: readonly StoredRequest[]): string =>
  formatTable(
    ['ID', 'AGENT', 'OPERATION', 'STATE', 'RUNS', 'CHANGED'],
    requests.map(({ id, agent, method, state, attempt, changedAt }) => [
      id,
      agent,
      method === '' ? '(message)' : method,
      STATES[state],
      String(attempt),
      new Date(changedAt).toISOString(),
    ]),
  );
