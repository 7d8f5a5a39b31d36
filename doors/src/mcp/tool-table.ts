// The tools of one principal: the operations of the agents that it may call, and `ask_agent`.
import type { AgentCard, AgentOperation, JsonSchema } from '../fabric/agent-card.ts';
import { TASK_ID } from './agent-task.ts';
import { META } from './results.ts';
import type { Tool } from './sdk.ts';
import { longToolName, type OperationRef, toolNames } from './tool-names.ts';
import { TURN_SCHEMA } from './turn-result.ts';

export const ASK_AGENT = 'ask_agent';
/** Parameter through which an operation can send requests to the client. The schema of the tool leaves it out. */
export const CLIENT_SIDE = '_mcp';
/** Operations of a chat agent that are one tool, because a tool call reports its own progress. */
const TURN_OPERATIONS: readonly string[] = ['run_turn', 'run_turn_stream'];
/** Parameters of `run_turn` that the door sets itself. */
const OWN_PARAMETERS: readonly string[] = ['answer', 'owner', 'after', 'include'];
const MAX_LISTED_AGENTS = 20;

/** An operation that a tool calls. */
export interface ToolTarget extends OperationRef {
  readonly card: AgentCard;
  readonly description: string | undefined;
  readonly params: JsonSchema | undefined;
  /** `turn` for the turns of a chat agent, `task` for the task of an agent with task methods. */
  readonly kind: 'turn' | 'task' | 'stream' | 'call';
  /** True if the operation declares the parameter `_mcp`. */
  readonly takesClientSide: boolean;
}

export class ToolTable {
  readonly #targets: ReadonlyMap<string, ToolTarget>;
  readonly #cards: readonly AgentCard[];
  readonly #chatAddress: string;

  /** @param chatAddress the agent that `ask_agent` calls by default */
  constructor(cards: readonly AgentCard[], chatAddress: string) {
    this.#cards = cards;
    this.#chatAddress = chatAddress;
    this.#targets = toolNames(cards.flatMap(targetsOf), [ASK_AGENT]);
  }

  /** The operation of a tool. Accepts long names too, which a client may have from an earlier list. */
  target(name: string): ToolTarget | undefined {
    return this.#targets.get(name) ?? this.#targets.values().find((target) => longToolName(target) === name);
  }

  /** The name of the tool for an operation. */
  nameOf(address: string, operation: string): string | undefined {
    for (const [name, target] of this.#targets)
      if (target.address === address && target.operation === operation) return name;
    return undefined;
  }

  /** `ask_agent`, then the operations by name. */
  list(): Tool[] {
    const tools = [...this.#targets].map(([name, target]) => toolOf(name, target));
    return [this.#askAgent(), ...tools];
  }

  #askAgent(): Tool {
    const chats = this.#cards.filter(({ isChat }) => isChat).map(({ address }) => address);
    const listed = chats.slice(0, MAX_LISTED_AGENTS).join(', ');
    return {
      name: ASK_AGENT,
      title: 'Ask an agent',
      description:
        'Sends a message to a chat agent and returns its reply. Pass the conversation_id of the result to continue the conversation.',
      inputSchema: {
        type: 'object',
        properties: {
          agent: {
            type: 'string',
            description: `Address of the agent, or the part before @. Agents: ${listed || 'none'}.`,
            default: this.#chatAddress,
          },
          message: { type: 'string' },
          conversation_id: { type: 'string', description: 'Omit it to start a conversation.' },
          turn_id: { type: 'string', description: 'A call with the id of an earlier turn joins that turn.' },
        },
        required: ['message'],
        additionalProperties: false,
      },
      outputSchema: TURN_SCHEMA,
    };
  }
}

function targetsOf(card: AgentCard): ToolTarget[] {
  const { address, isChat } = card;
  const targets = card.operations
    .filter(({ name }) => !isChat || !TURN_OPERATIONS.includes(name))
    .map(
      ({ name, description, params, isStreaming }): ToolTarget => ({
        card,
        address,
        operation: name,
        description,
        params,
        kind: isStreaming ? 'stream' : 'call',
        takesClientSide: Object.hasOwn((params?.properties ?? {}) as object, CLIENT_SIDE),
      }),
    );
  if (!isChat) return card.hasTasks ? [...targets, taskTarget(card)] : targets;
  const turn = card.operations.find(({ name }) => name === 'run_turn');
  return [
    ...targets,
    { card, address, operation: 'run_turn', ...turnOf(turn), kind: 'turn', takesClientSide: false },
  ];
}

/** The task of an agent has an empty operation name, so that its tool has the name of the agent. */
const taskTarget = (card: AgentCard): ToolTarget => ({
  card,
  address: card.address,
  operation: card.name,
  description:
    card.description ??
    'Runs a task of an agent. A lone `message` is the text of the task; other arguments are its data.',
  params: { type: 'object', properties: { message: { type: 'string' }, [TASK_ID]: TASK_ID_SCHEMA } },
  kind: 'task',
  takesClientSide: false,
});

const TASK_ID_SCHEMA = { type: 'string', description: 'The task that asked for input, to answer it.' };

const turnOf = (operation: AgentOperation | undefined): Pick<ToolTarget, 'description' | 'params'> => ({
  description:
    'Sends a message to a conversation and returns the reply. Without conversation_id it starts a conversation.',
  params: turnParams(operation?.params),
});

function turnParams(params: JsonSchema | undefined): JsonSchema {
  const given = (params?.properties ?? {}) as Record<string, unknown>;
  const kept = Object.entries(given).filter(([name]) => !OWN_PARAMETERS.includes(name));
  const properties = {
    conversation_id: { type: 'string' },
    user_message: { type: 'string' },
    ...Object.fromEntries(kept),
  };
  return { type: 'object', properties };
}

function toolOf(name: string, { card, operation, description, params, kind }: ToolTarget): Tool {
  return {
    name,
    title: `${operation} of ${card.name}`,
    description: [description, `Operation ${operation} of the agent ${card.address}.`]
      .filter(Boolean)
      .join(' '),
    inputSchema: objectSchema(params),
    ...(kind === 'turn' ? { outputSchema: TURN_SCHEMA } : {}),
    _meta: { [META.agent]: card.address, [META.operation]: operation },
  };
}

const _sourceOf = (kind: ToolTarget['kind'], operation: string, { address }: AgentCard): string =>
  kind === 'task' ? `Task of the agent ${address}.` : `Operation ${operation} of the agent ${address}.`;

/** Arguments of a tool are an object, so positional parameters are put into `args`. */
function objectSchema(params: JsonSchema | undefined): Tool['inputSchema'] {
  const schema = params && withoutHeaders(params);
  if (schema?.type === 'array') return { type: 'object', properties: { args: schema }, required: ['args'] };
  return schema?.type === 'object' ? withoutClientSide(schema as Tool['inputSchema']) : { type: 'object' };
}

function withoutClientSide(schema: Tool['inputSchema']): Tool['inputSchema'] {
  const { [CLIENT_SIDE]: side, ...properties } = schema.properties ?? {};
  if (side === undefined) return schema;
  const { required, ...rest } = schema;
  const others = required?.filter((name) => name !== CLIENT_SIDE) ?? [];
  return { ...rest, properties, ...(others.length > 0 ? { required: others } : {}) };
}

// With `x-mcp-header`, clients copy a parameter into a header, which this door does not check. A faulty header hides the tool.
const withoutHeaders = (schema: JsonSchema): Exclude<Tool['inputSchema']['properties'], undefined> =>
  JSON.parse(
    JSON.stringify(schema, (key, value: unknown) =>
      key === 'x-mcp-header' && typeof value === 'string' ? undefined : value,
    ),
  );
