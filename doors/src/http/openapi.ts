// The OpenAPI document of the plain HTTP door: a path for each operation of each agent that the caller may call, with the parameters from
// the description of the agent. Version 3.1, because its schemas are JSON Schema.
import type { AgentCard, AgentOperation, JsonSchema } from '../fabric/agent-card.ts';
import { pathOf } from './examples.ts';
import { isTurn } from './turn-run.ts';

type Json = Readonly<Record<string, unknown>>;

const ref = (kind: 'schemas' | 'responses' | 'parameters', name: string): Json => ({
  $ref: `#/components/${kind}/${name}`,
});
const json = (schema: Json): Json => ({ 'application/json': { schema } });
const EVENTS: Json = { 'text/event-stream': { schema: { type: 'string' } } };

/** Makes the document. `base` is the URL of the port. */
export function openApiDocument(agents: readonly AgentCard[], base: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Fame Fabric',
      version: '1',
      description: 'The agents of a fabric that the caller may call.',
    },
    servers: [{ url: base }],
    security: [{}, { key: [] }],
    tags: agents.map(({ address, description }) => ({ name: address, description })),
    paths: {
      '/agents': { get: listing },
      '/agents/{address}': { parameters: [ADDRESS], get: describing },
      '/agents/{address}/turns/{turn_id}': {
        parameters: [ADDRESS, TURN, CONVERSATION],
        get: { ...readingTurn, parameters: [ref('parameters', 'LastEventId')] },
        delete: cancellingTurn,
      },
      ...Object.fromEntries(
        agents.flatMap((agent) =>
          agent.operations.map((operation) => [
            pathOf(agent.address, operation.name),
            { post: callOf(agent, operation) },
          ]),
        ),
      ),
    },
    components,
  };
}

const inPath = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string' },
});
const ADDRESS = inPath('address', 'Address of an agent, or the part before @ if only one agent has it.');
const TURN = inPath('turn_id', 'Id of a turn, from X-Turn-Id.');
const CONVERSATION: Json = {
  name: 'conversation_id',
  in: 'query',
  required: true,
  description: 'Id of the conversation, from X-Conversation-Id.',
  schema: { type: 'string' },
};

const ok = (description: string, content: Json): Json => ({
  200: { description, content },
  default: ref('responses', 'Error'),
});

const listing: Json = {
  operationId: 'listAgents',
  summary: 'List the agents that you may call',
  responses: ok('The agents by address.', json({ type: 'object' })),
};
const describing: Json = {
  operationId: 'describeAgent',
  summary: 'Describe an agent and its operations',
  responses: ok('The agent.', json({ type: 'object' })),
};
const readingTurn: Json = {
  operationId: 'readTurn',
  summary: 'Read the report of a turn, or follow its events',
  responses: {
    204: { description: 'There are no events after Last-Event-ID, and the turn has ended.' },
    ...ok('The report, or the events.', { ...json({ type: 'object' }), ...EVENTS }),
  },
};
const cancellingTurn: Json = {
  operationId: 'cancelTurn',
  summary: 'Cancel a turn',
  responses: ok('The state of the turn.', json({ type: 'object' })),
};

const components: Json = {
  securitySchemes: {
    key: { type: 'http', scheme: 'bearer', description: 'A key or token of the sentinel.' },
  },
  parameters: {
    IdempotencyKey: {
      name: 'Idempotency-Key',
      in: 'header',
      description: 'A request with the same key and body gets the outcome of the first one.',
      schema: { type: 'string' },
    },
    ConversationId: {
      name: 'X-Conversation-Id',
      in: 'header',
      description: 'The conversation that the turn continues. Without it, a new conversation starts.',
      schema: { type: 'string' },
    },
    LastEventId: {
      name: 'Last-Event-ID',
      in: 'header',
      description: 'Id of the last event that the client has. The stream begins after it.',
      schema: { type: 'string' },
    },
    TimeoutMs: {
      name: 'timeout_ms',
      in: 'query',
      description: 'Time limit of the call, or of each item of a stream, in ms.',
      schema: { type: 'integer', minimum: 1, maximum: 900_000, default: 30_000 },
    },
  },
  responses: { Error: { description: 'The error.', content: json(ref('schemas', 'Error')) } },
  schemas: {
    Error: {
      type: 'object',
      required: ['error'],
      properties: {
        error: {
          type: 'object',
          required: ['code', 'message', 'retryable'],
          properties: {
            code: {
              type: 'string',
              description: 'A code of Fame Fabric (docs/errors.md), or a code that the agent defines.',
            },
            message: { type: 'string' },
            fix: { type: 'string' },
            example: { type: 'string', description: 'A command that works.' },
            retryable: { type: 'boolean' },
            details: { type: 'object' },
          },
        },
      },
    },
  },
};

function callOf(agent: AgentCard, operation: AgentOperation): Json {
  const { name, description, isStreaming, isDurable, params, result } = operation;
  const answer = result === undefined ? {} : withOwnRoot(result, agent, name, 'result');
  const isTurnCall = isTurn(agent, name);
  const parameters = [
    ...(isTurnCall ? [ref('parameters', 'ConversationId'), ref('parameters', 'LastEventId')] : []),
    ...(isTurnCall || isDurable ? [ref('parameters', 'IdempotencyKey')] : []),
    ...(isTurnCall ? [] : [ref('parameters', 'TimeoutMs')]),
  ];
  const body = isTurnCall
    ? TURN_BODY
    : params === undefined
      ? {}
      : withOwnRoot(params, agent, name, 'params');
  return {
    operationId: `${agent.address}/${name}`,
    tags: [agent.address],
    summary: name,
    description,
    parameters,
    requestBody: { content: json(body), required: isTurnCall || hasRequired(params) },
    responses: ok(isStreaming ? 'The items.' : 'The result.', {
      ...json(isTurnCall ? TURN_RESULT : isStreaming ? { type: 'array', items: answer } : answer),
      ...EVENTS,
    }),
  };
}

const TURN_BODY: Json = {
  type: 'object',
  properties: {
    user_message: { type: 'string' },
    conversation_id: { type: 'string', maxLength: 128 },
    turn_id: { type: 'string', maxLength: 128 },
    system_prompt: { type: 'string', description: 'For a new conversation.' },
    ephemeral: { type: 'boolean', description: 'True for a new conversation that lists omit.' },
    options: { type: 'object' },
    tool_results: { type: 'array', items: { type: 'object' } },
    include: { type: 'array', items: { type: 'string' } },
  },
};
const TURN_RESULT: Json = {
  type: 'object',
  required: ['conversation_id', 'turn_id', 'text'],
  properties: {
    conversation_id: { type: 'string' },
    turn_id: { type: 'string' },
    text: { type: 'string' },
  },
};

const hasRequired = (schema: JsonSchema | undefined): boolean =>
  Array.isArray(schema?.required) && schema.required.length > 0;

/** References within a schema of an agent are relative to that schema, so it gets an id of its own. */
const withOwnRoot = (schema: JsonSchema, { address }: AgentCard, operation: string, part: string): Json =>
  JSON.stringify(schema).includes('"$ref"')
    ? { ...schema, $id: `urn:fame:${encodeURIComponent(address)}:${encodeURIComponent(operation)}:${part}` }
    : schema;
