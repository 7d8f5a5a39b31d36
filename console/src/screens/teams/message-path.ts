// The path of one message through a team, from the events of its conversation. Each model call names the agent that asked. The call of
// an agent's routing function names the route, so a function, an ignore or an agent on another node at its end is known too.
import { isObject, type TeamDescription, type TeamRoute } from './team.ts';
import { edgeId, nodeId } from './team-layout.ts';

export interface MessagePath {
  readonly turnId: string;
  /** Text of the user. */
  readonly message: string;
  /** Ids of the nodes that had the message, in order. */
  readonly nodes: readonly string[];
  /** Ids of the lines that it took. */
  readonly edges: readonly string[];
  readonly state: 'running' | 'done' | 'failed';
  readonly handoffs: number;
  readonly modelCalls: number;
  readonly tokens: number;
  /** `undefined` if a part of it is unknown. */
  readonly cost: { readonly amount: number; readonly currency: string } | undefined;
  readonly code?: string;
}

/** Follows one message after the other; `event` is an event of `read_events`. */
export function followMessage(
  team: TeamDescription,
  path: MessagePath | undefined,
  event: { readonly type: string },
): MessagePath | undefined {
  const fields = event as Readonly<Record<string, unknown>>;
  if (event.type === 'turn') return started(fields);
  if (!path || fields.turn_id !== path.turnId || path.state !== 'running') return path;
  switch (event.type) {
    case 'model_call':
      return typeof fields.agent === 'string' ? entered(team, path, fields.agent) : path;
    case 'model_reply':
      return charged(path, fields);
    case 'tool_call':
      return routed(team, path, fields);
    case 'done':
      return { ...path, state: 'done' };
    case 'error':
      return { ...path, state: 'failed', code: String(fields.code) };
    default:
      return path;
  }
}

const started = ({ turn_id, user_message }: Readonly<Record<string, unknown>>): MessagePath => ({
  turnId: String(turn_id),
  message: String(user_message),
  nodes: [],
  edges: [],
  state: 'running',
  handoffs: 0,
  modelCalls: 0,
  tokens: 0,
  cost: undefined,
});

function entered(team: TeamDescription, path: MessagePath, agent: string): MessagePath {
  const id = nodeId('agent', agent);
  const called = { ...path, modelCalls: path.modelCalls + 1 };
  if (path.nodes.at(-1) === id) return called;
  const from = path.nodes.at(-1);
  const route = team.routes.find(
    (one) => nodeId('agent', one.from) === from && one.to.kind === 'agent' && one.to.name === agent,
  );
  // A function may hand over without a route.
  return {
    ...called,
    nodes: [...path.nodes, id],
    edges: route ? withEdge(path, route) : path.edges,
    handoffs: path.handoffs + (from === undefined ? 0 : 1),
  };
}

const withEdge = ({ edges }: MessagePath, route: TeamRoute): readonly string[] => [
  ...edges.filter((id) => id !== edgeId(route)),
  edgeId(route),
];

function routed(
  team: TeamDescription,
  path: MessagePath,
  fields: Readonly<Record<string, unknown>>,
): MessagePath {
  const agent = team.agents.find(({ name }) => nodeId('agent', name) === path.nodes.at(-1));
  if (!agent || agent.routes_by === undefined || fields.name !== agent.routes_by) return path;
  const args = isObject(fields.args) ? fields.args : {};
  const own = team.routes.filter(({ from }) => from === agent.name);
  const route =
    own.find(({ argument, value }) => value !== null && String(args[argument]) === value) ??
    own.find(({ value }) => value === null);
  // An agent of this team gets the message with its first model call.
  if (!route || route.to.kind === 'agent') return path;
  return {
    ...path,
    nodes: [...path.nodes, nodeId(route.to.kind, route.to.name)],
    edges: withEdge(path, route),
    handoffs: path.handoffs + (route.to.kind === 'remote' ? 1 : 0),
  };
}

function charged(path: MessagePath, { usage, cost }: Readonly<Record<string, unknown>>): MessagePath {
  const tokens = isObject(usage) && typeof usage.total_tokens === 'number' ? usage.total_tokens : 0;
  const { amount, currency } = (isObject(cost) ? cost : {}) as { amount?: number; currency?: string };
  const known =
    amount !== undefined && currency !== undefined && (path.tokens === 0 || path.cost !== undefined);
  return {
    ...path,
    tokens: path.tokens + tokens,
    cost: known ? { amount: (path.cost?.amount ?? 0) + amount, currency } : undefined,
  };
}
