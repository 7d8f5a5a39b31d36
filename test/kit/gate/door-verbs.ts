// The verbs of the matrix of the doors. Each one is a request in the protocol of its door; the targets are opaque to it.
import { newId } from '@fame-fabric/shared';
import { CHAT, type DoorTarget, MAIL, SUM, WORK } from './door-fabric.ts';

/**
 * The permission that a verb needs. `caller`: a valid credential. An address: a call to that agent. `public`: the same, or no credential.
 * `conversation` and `task`: a call to the agent, and the conversation or the task. `session`: the session, which has one user.
 */
type Needs =
  | 'nothing'
  | 'public'
  | 'caller'
  | typeof CHAT
  | typeof WORK
  | typeof SUM
  | typeof MAIL
  | 'conversation'
  | 'task'
  | 'session';

type Lists = 'agents' | 'conversation' | 'task';

export interface DoorVerb {
  readonly needs: Needs;
  /** The answer has these of all that the caller may use, and no others. */
  readonly lists?: Lists | undefined;
  readonly request: (target: DoorTarget) => DoorRequest;
}

interface DoorRequest {
  readonly path: string;
  /** @default POST with a body, else GET */
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Verbs = Readonly<Record<string, DoorVerb>>;

const verb = (needs: Needs, request: DoorVerb['request'], lists?: Lists): DoorVerb => ({
  needs,
  request,
  lists,
});
const listing = (lists: Lists, { needs, request }: DoorVerb): DoorVerb => verb(needs, request, lists);
const get =
  (path: string | ((target: DoorTarget) => string)): DoorVerb['request'] =>
  (target) => ({ path: typeof path === 'string' ? path : path(target) });

/** An id as the doors make them, which anyone can forge. */
const forged = (prefix: string, ...parts: readonly (string | null)[]): string =>
  prefix + Buffer.from(JSON.stringify(parts)).toString('base64url');

const responseOf = ({ conversation, turn }: DoorTarget): string => forged('resp_', CHAT, conversation, turn);
const busyResponseOf = ({ busy, busyTurn }: DoorTarget): string => forged('resp_', CHAT, busy, busyTurn);
const conversationOf = ({ conversation }: DoorTarget): string => forged('conv_', CHAT, conversation);
/** A repeated text would be a repeated request, which joins its turn. */
const text = (): string => `Hello ${newId()}`;

const messages = (): unknown => [{ role: 'user', content: text() }];
const CHAT_COMPLETIONS: Verbs = {
  'list models': listing('agents', verb('caller', get('/v1/models'))),
  'describe a model': verb(CHAT, get(`/v1/models/${CHAT}`)),
  start: verb(CHAT, () => ({
    path: '/v1/chat/completions',
    body: { model: CHAT, messages: messages() },
  })),
  'start, streamed': verb(CHAT, () => ({
    path: '/v1/chat/completions',
    body: { model: CHAT, messages: messages(), stream: true },
  })),
  'continue by header': verb(CHAT, ({ named }) => ({
    path: '/v1/chat/completions',
    body: { model: CHAT, messages: messages() },
    headers: { 'x-conversation-id': named },
  })),
  'continue by metadata': verb(CHAT, ({ named }) => ({
    path: '/v1/chat/completions',
    body: { model: CHAT, messages: messages(), metadata: { conversation_id: named } },
  })),
};

const RESPONSES: Verbs = {
  start: verb(CHAT, () => ({ path: '/v1/responses', body: { model: CHAT, input: text() } })),
  'start, streamed': verb(CHAT, () => ({
    path: '/v1/responses',
    body: { model: CHAT, input: text(), stream: true },
  })),
  'start in the background': verb(CHAT, () => ({
    path: '/v1/responses',
    body: { model: CHAT, input: text(), background: true },
  })),
  'start a conversation': verb(CHAT, () => ({ path: '/v1/conversations', body: { model: CHAT } })),
  read: verb(
    'conversation',
    get((target) => `/v1/responses/${responseOf(target)}`),
  ),
  'read the input': verb(
    'conversation',
    get((target) => `/v1/responses/${responseOf(target)}/input_items`),
  ),
  'read the conversation': verb(
    'conversation',
    get((target) => `/v1/conversations/${conversationOf(target)}`),
  ),
  'read the items': verb(
    'conversation',
    get((target) => `/v1/conversations/${conversationOf(target)}/items`),
  ),
  'read the items of an id of another door': verb(
    'conversation',
    get(({ conversation }) => `/v1/conversations/${conversation}/items`),
  ),
  watch: verb(
    'conversation',
    get((target) => `/v1/responses/${busyResponseOf(target)}?stream=true`),
  ),
  'continue a response': verb('conversation', (target) => ({
    path: '/v1/responses',
    body: { model: CHAT, input: text(), previous_response_id: responseOf(target) },
  })),
  'continue a conversation': verb('conversation', (target) => ({
    path: '/v1/responses',
    body: { model: CHAT, input: text(), conversation: conversationOf(target) },
  })),
  cancel: verb('conversation', (target) => ({
    path: `/v1/responses/${busyResponseOf(target)}/cancel`,
    body: {},
  })),
  delete: verb('conversation', (target) => ({
    path: `/v1/responses/${responseOf(target)}`,
    method: 'DELETE',
  })),
  'delete the conversation': verb('conversation', (target) => ({
    path: `/v1/conversations/${conversationOf(target)}`,
    method: 'DELETE',
  })),
};

const taskOf = ({ conversation, turn }: DoorTarget): string => forged('task_', CHAT, conversation, turn);
const busyTaskOf = ({ busy, busyTurn }: DoorTarget): string => forged('task_', CHAT, busy, busyTurn);
const rpc = (method: string, params: unknown): unknown => ({ jsonrpc: '2.0', id: 1, method, params });
const PUSH = { id: 'p1', url: 'https://receiver.example/push' };

const a2aMessage = (fields: object = {}): object => ({
  messageId: newId(),
  role: 'ROLE_USER',
  parts: [{ text: text() }],
  ...fields,
});
const V1 = { 'a2a-version': '1.0' };
const jsonRpc = (
  needs: Needs,
  agent: string,
  method: string,
  params: (target: DoorTarget) => unknown,
): DoorVerb =>
  verb(needs, (target) => ({ path: `/a2a/${agent}`, body: rpc(method, params(target)), headers: V1 }));
const now = { configuration: { returnImmediately: true } };

const A2A_JSON_RPC: Verbs = {
  'public card': verb('public', get('/.well-known/agent-card.json')),
  card: verb(CHAT, get(`/a2a/${CHAT}/.well-known/agent-card.json`)),
  'extended card': jsonRpc(CHAT, CHAT, 'GetExtendedAgentCard', () => ({})),
  'list tasks': listing(
    'conversation',
    jsonRpc(CHAT, CHAT, 'ListTasks', () => ({})),
  ),
  start: jsonRpc(CHAT, CHAT, 'SendMessage', () => ({ message: a2aMessage() })),
  'start, streamed': jsonRpc(CHAT, CHAT, 'SendStreamingMessage', () => ({ message: a2aMessage() })),
  'continue a context': jsonRpc(CHAT, CHAT, 'SendMessage', ({ named }) => ({
    message: a2aMessage({ contextId: named }),
  })),
  'continue a task': jsonRpc('conversation', CHAT, 'SendMessage', (target) => ({
    message: a2aMessage({ taskId: taskOf(target) }),
  })),
  read: jsonRpc('conversation', CHAT, 'GetTask', (target) => ({ id: taskOf(target) })),
  watch: jsonRpc('conversation', CHAT, 'SubscribeToTask', (target) => ({ id: busyTaskOf(target) })),
  cancel: jsonRpc('conversation', CHAT, 'CancelTask', (target) => ({ id: busyTaskOf(target) })),
  'call an operation': jsonRpc(SUM, SUM, 'SendMessage', () => ({
    message: a2aMessage({ parts: [{ data: { operation: 'add', params: { x: 1 } } }] }),
  })),
  'start a task': jsonRpc(WORK, WORK, 'SendMessage', () => ({ message: a2aMessage(), ...now })),
  'list tasks of an agent': listing(
    'task',
    jsonRpc(WORK, WORK, 'ListTasks', () => ({})),
  ),
  'read a task': jsonRpc('task', WORK, 'GetTask', ({ task }) => ({ id: task })),
  'watch a task': jsonRpc('task', WORK, 'SubscribeToTask', ({ task }) => ({ id: task })),
  'set a push configuration': jsonRpc('task', WORK, 'CreateTaskPushNotificationConfig', ({ task }) => ({
    taskId: task,
    ...PUSH,
  })),
  'get a push configuration': jsonRpc('task', WORK, 'GetTaskPushNotificationConfig', ({ task }) => ({
    taskId: task,
    id: PUSH.id,
  })),
  'list push configurations': jsonRpc('task', WORK, 'ListTaskPushNotificationConfigs', ({ task }) => ({
    taskId: task,
  })),
  'delete a push configuration': jsonRpc('task', WORK, 'DeleteTaskPushNotificationConfig', ({ task }) => ({
    taskId: task,
    id: PUSH.id,
  })),
  'cancel a task': jsonRpc('task', WORK, 'CancelTask', ({ task }) => ({ id: task })),
};

const httpJson = (
  needs: Needs,
  agent: string,
  path: (target: DoorTarget) => string,
  more: (target: DoorTarget) => Partial<DoorRequest> = () => ({}),
): DoorVerb =>
  verb(needs, (target) => ({
    path: `/a2a/${agent}/v1/${path(target)}`,
    headers: V1,
    ...more(target),
  }));
const post = (body: unknown = {}) => ({ body });

const A2A_HTTP_JSON: Verbs = {
  'extended card': httpJson(CHAT, CHAT, () => 'extendedAgentCard'),
  'list tasks': listing(
    'conversation',
    httpJson(CHAT, CHAT, () => 'tasks'),
  ),
  start: httpJson(
    CHAT,
    CHAT,
    () => 'message:send',
    () => post({ message: a2aMessage() }),
  ),
  'start, streamed': httpJson(
    CHAT,
    CHAT,
    () => 'message:stream',
    () => post({ message: a2aMessage() }),
  ),
  'continue a context': httpJson(
    CHAT,
    CHAT,
    () => 'message:send',
    ({ named }) => post({ message: a2aMessage({ contextId: named }) }),
  ),
  'continue a task': httpJson(
    'conversation',
    CHAT,
    () => 'message:send',
    (target) => post({ message: a2aMessage({ taskId: taskOf(target) }) }),
  ),
  read: httpJson('conversation', CHAT, (target) => `tasks/${taskOf(target)}`),
  watch: httpJson('conversation', CHAT, (target) => `tasks/${busyTaskOf(target)}:subscribe`),
  cancel: httpJson(
    'conversation',
    CHAT,
    (target) => `tasks/${busyTaskOf(target)}:cancel`,
    () => post(),
  ),
  'start a task': httpJson(
    WORK,
    WORK,
    () => 'message:send',
    () => post({ message: a2aMessage(), ...now }),
  ),
  'list tasks of an agent': listing(
    'task',
    httpJson(WORK, WORK, () => 'tasks'),
  ),
  'read a task': httpJson('task', WORK, ({ task }) => `tasks/${task}`),
  'watch a task': httpJson('task', WORK, ({ task }) => `tasks/${task}:subscribe`),
  'set a push configuration': httpJson(
    'task',
    WORK,
    ({ task }) => `tasks/${task}/pushNotificationConfigs`,
    () => post(PUSH),
  ),
  'get a push configuration': httpJson(
    'task',
    WORK,
    ({ task }) => `tasks/${task}/pushNotificationConfigs/${PUSH.id}`,
  ),
  'list push configurations': httpJson('task', WORK, ({ task }) => `tasks/${task}/pushNotificationConfigs`),
  'delete a push configuration': httpJson(
    'task',
    WORK,
    ({ task }) => `tasks/${task}/pushNotificationConfigs/${PUSH.id}`,
    () => ({ method: 'DELETE' }),
  ),
  'cancel a task': httpJson(
    'task',
    WORK,
    ({ task }) => `tasks/${task}:cancel`,
    () => post(),
  ),
};

const oldMessage = (fields: object = {}): object => ({
  kind: 'message',
  messageId: newId(),
  role: 'user',
  parts: [{ kind: 'text', text: text() }],
  ...fields,
});
const old = (needs: Needs, method: string, params: (target: DoorTarget) => unknown): DoorVerb =>
  verb(needs, (target) => ({ path: `/a2a/${CHAT}`, body: rpc(method, params(target)) }));

const A2A_0_3: Verbs = {
  'public card': verb('public', get('/.well-known/agent.json')),
  start: old(CHAT, 'message/send', () => ({ message: oldMessage() })),
  'start, streamed': old(CHAT, 'message/stream', () => ({ message: oldMessage() })),
  'continue a context': old(CHAT, 'message/send', ({ named }) => ({
    message: oldMessage({ contextId: named }),
  })),
  'continue a task': old('conversation', 'message/send', (target) => ({
    message: oldMessage({ taskId: taskOf(target) }),
  })),
  read: old('conversation', 'tasks/get', (target) => ({ id: taskOf(target) })),
  watch: old('conversation', 'tasks/resubscribe', (target) => ({ id: busyTaskOf(target) })),
  cancel: old('conversation', 'tasks/cancel', (target) => ({ id: busyTaskOf(target) })),
};

/** Headers and metadata of one era of MCP. */
type Era = '2026-07-28' | '2025-11-25';
const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

const mcpVerb =
  (era: Era) =>
  (needs: Needs, method: string, params: (target: DoorTarget) => Record<string, unknown>): DoorVerb =>
    verb(needs, (target) => {
      const given = params(target);
      const named = given.name ?? given.uri ?? given.taskId;
      const accept = { accept: 'application/json, text/event-stream', 'mcp-protocol-version': era };
      if (era === '2025-11-25') return { path: '/mcp', body: rpc(method, given), headers: accept };
      return {
        path: '/mcp',
        body: rpc(method, {
          ...given,
          _meta: {
            'io.modelcontextprotocol/protocolVersion': era,
            'io.modelcontextprotocol/clientInfo': { name: 'gate', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': TASKS,
          },
        }),
        headers: {
          ...accept,
          'mcp-method': method,
          ...(typeof named === 'string' ? { 'mcp-name': named } : {}),
        },
      };
    });

const CREATED = '2026-01-01T00:00:00.000Z';
const mcpTaskOf = ({ busy, busyTurn }: DoorTarget): string => forged('task_', CHAT, busy, busyTurn, CREATED);
const mcpJobOf = ({ task }: DoorTarget): string => forged('job_', WORK, task, null, CREATED);

const useSession = verb('session', (target) => {
  const listed = mcpVerb('2025-11-25')('session', 'tools/list', () => ({})).request(target);
  return { ...listed, headers: { ...listed.headers, 'mcp-session-id': target.session } };
});

function mcpVerbs(era: Era): Verbs {
  const mcp = mcpVerb(era);
  const tool = (needs: Needs, name: string, args: (target: DoorTarget) => object): DoorVerb =>
    mcp(needs, 'tools/call', (target) => ({ name, arguments: args(target) }));
  const tasks: Verbs = {
    'poll a task': mcp('conversation', 'tasks/get', (target) => ({ taskId: mcpTaskOf(target) })),
    'answer a task': mcp('conversation', 'tasks/update', (target) => ({
      taskId: mcpTaskOf(target),
      inputResponses: {},
    })),
    'cancel a task': mcp('conversation', 'tasks/cancel', (target) => ({ taskId: mcpTaskOf(target) })),
    'poll a task of an agent': mcp('task', 'tasks/get', (target) => ({ taskId: mcpJobOf(target) })),
    'cancel a task of an agent': mcp('task', 'tasks/cancel', (target) => ({ taskId: mcpJobOf(target) })),
  };
  return {
    'list tools': listing(
      'agents',
      mcp('caller', 'tools/list', () => ({})),
    ),
    'list resources': listing(
      'conversation',
      mcp('caller', 'resources/list', () => ({})),
    ),
    start: tool(CHAT, 'ask_agent', () => ({ agent: CHAT, message: text() })),
    'start by tool': tool(CHAT, 'chat_run_turn', () => ({ user_message: text() })),
    'call an operation': tool(SUM, 'sum_add', () => ({ x: 1 })),
    continue: tool('conversation', 'ask_agent', ({ conversation, named }) => ({
      agent: CHAT,
      message: text(),
      conversation_id: conversation,
      turn_id: named,
    })),
    'read a conversation': mcp('conversation', 'resources/read', ({ conversation }) => ({
      uri: `fame://conversations/${encodeURIComponent(CHAT)}/${conversation}`,
    })),
    'read events': tool('conversation', 'chat_read_events', ({ conversation }) => ({
      conversation_id: conversation,
    })),
    'read a turn': tool('conversation', 'chat_get_turn', ({ conversation, turn }) => ({
      conversation_id: conversation,
      turn_id: turn,
    })),
    cancel: tool('conversation', 'chat_cancel_turn', ({ busy, busyTurn }) => ({
      conversation_id: busy,
      turn_id: busyTurn,
    })),
    ...(era === '2026-07-28' ? tasks : { 'use a session': useSession }),
  };
}

const turnPath = ({ conversation, turn }: DoorTarget): string =>
  `/agents/${CHAT}/turns/${turn}?conversation_id=${conversation}`;
const busyPath = ({ busy, busyTurn }: DoorTarget): string =>
  `/agents/${CHAT}/turns/${busyTurn}?conversation_id=${busy}`;
const EVENTS = { accept: 'text/event-stream' };
const operation = (
  needs: Needs,
  agent: string,
  method: string,
  params: (target: DoorTarget) => unknown,
): DoorVerb => verb(needs, (target) => ({ path: `/agents/${agent}/${method}`, body: params(target) }));

const HTTP: Verbs = {
  'list agents': listing('agents', verb('caller', get('/agents'))),
  'list of OpenAPI': listing('agents', verb('caller', get('/openapi.json'))),
  describe: verb(CHAT, get(`/agents/${CHAT}`)),
  'describe by name': verb(CHAT, get('/agents/chat')),
  'call an operation': operation(SUM, SUM, 'add', () => ({ x: 1 })),
  start: operation(CHAT, CHAT, 'run_turn', () => ({ user_message: text() })),
  'start, streamed': verb(CHAT, () => ({
    path: `/agents/${CHAT}/run_turn`,
    body: { user_message: text() },
    headers: EVENTS,
  })),
  'continue by name': operation(CHAT, CHAT, 'run_turn', ({ named }) => ({
    user_message: text(),
    conversation_id: named,
  })),
  read: verb('conversation', get(turnPath)),
  'read events': operation('conversation', CHAT, 'read_events', ({ conversation }) => ({
    conversation_id: conversation,
  })),
  'read the history': operation('conversation', CHAT, 'get_history', ({ conversation }) => ({
    conversation_id: conversation,
  })),
  watch: verb('conversation', (target) => ({ path: busyPath(target), headers: EVENTS })),
  cancel: verb('conversation', (target) => ({ path: busyPath(target), method: 'DELETE' })),
  'list tasks of an agent': listing(
    'task',
    operation(WORK, WORK, 'tasks/list', () => ({})),
  ),
  'read a task': operation('task', WORK, 'tasks/get', ({ task }) => ({ id: task })),
  'list push configurations': operation('task', WORK, 'tasks/pushNotification/list', ({ task }) => ({
    id: task,
  })),
  'delete a push configuration': operation('task', WORK, 'tasks/pushNotification/delete', ({ task }) => ({
    id: task,
  })),
  'cancel a task': operation('task', WORK, 'tasks/cancel', ({ task }) => ({ id: task })),
};

const gateway = (
  needs: Needs,
  targetAddr: string,
  method: string,
  params: (target: DoorTarget) => unknown,
): DoorVerb =>
  verb(needs, (target) => ({
    path: '/fame/v1/gateway/rpc',
    body: { targetAddr, method, params: params(target) },
  }));

const GATEWAY: Verbs = {
  health: verb('nothing', get('/fame/v1/gateway/health')),
  describe: gateway(CHAT, CHAT, 'describe', () => ({})),
  'call an operation': gateway(SUM, SUM, 'add', () => ({ x: 1 })),
  message: verb(MAIL, () => ({ path: '/fame/v1/gateway/messages', body: { targetAddr: MAIL, type: 'hi' } })),
  start: gateway(CHAT, CHAT, 'start_task', () => ({ id: newId() })),
  continue: gateway('conversation', CHAT, 'run_turn', ({ conversation }) => ({
    conversation_id: conversation,
    user_message: text(),
  })),
  'read events': gateway('conversation', CHAT, 'read_events', ({ conversation }) => ({
    conversation_id: conversation,
  })),
  'read a turn': gateway('conversation', CHAT, 'get_turn', ({ conversation, turn }) => ({
    conversation_id: conversation,
    turn_id: turn,
  })),
  cancel: gateway('conversation', CHAT, 'cancel_turn', ({ busy, busyTurn }) => ({
    conversation_id: busy,
    turn_id: busyTurn,
  })),
  'read a task': gateway('task', WORK, 'tasks/get', ({ task }) => ({ id: task })),
  'cancel a task': gateway('task', WORK, 'tasks/cancel', ({ task }) => ({ id: task })),
};

export const DOOR_VERBS = {
  'Chat Completions': CHAT_COMPLETIONS,
  Responses: RESPONSES,
  'A2A JSON-RPC': A2A_JSON_RPC,
  'A2A HTTP+JSON': A2A_HTTP_JSON,
  'A2A 0.3': A2A_0_3,
  'MCP 2026-07-28': mcpVerbs('2026-07-28'),
  'MCP 2025-11-25': mcpVerbs('2025-11-25'),
  HTTP,
  gateway: GATEWAY,
} satisfies Readonly<Record<string, Verbs>>;

export type DoorName = keyof typeof DOOR_VERBS;
