// The error codes of Fame Fabric, by area. Callers match codes, so a code is never renamed or reused. The same code is used on
// the wire (NACKs, JSON-RPC `error.data.code`), in logs and in docs/errors.md, which a test compares with this table.
//
// One table serves all workspaces: clients and sentinels receive the codes of agents over the wire and must recognize them
// without importing agents. Each transport maps the codes to its own numbers: JSON-RPC in `protocol/rpc.ts`, WebSocket close
// codes in the sentinel, exit codes in `cli/exit-codes.ts`.

/** One row of the table. */
export interface ErrorEntry {
  /** The part of the system that raises the code. */
  readonly area:
    | 'protocol'
    | 'auth'
    | 'admission'
    | 'route'
    | 'rpc'
    | 'task'
    | 'conversation'
    | 'turn'
    | 'model'
    | 'tool'
    | 'store'
    | 'link'
    | 'config'
    | 'workflow'
    | 'stream'
    | 'strategy'
    | 'team';
  /** True if the same request may succeed later, unchanged. */
  readonly retryable: boolean;
  /** Condition under which the code is raised, as docs/errors.md prints it. */
  readonly when: string;
  /** Advice to the reader, as docs/errors.md prints it. */
  readonly fix: string;
}

const entry = (area: ErrorEntry['area'], retryable: boolean, when: string, fix: string): ErrorEntry =>
  Object.freeze({ area, retryable, when, fix });

/** The table of error codes. */
export const ERRORS = Object.freeze({
  PROTO_MALFORMED: entry(
    'protocol',
    false,
    'A message is not valid UTF-8 JSON, or an envelope or frame field has the wrong type.',
    'Correct the sender; the reason names the field.',
  ),
  PROTO_UNKNOWN_FRAME: entry(
    'protocol',
    false,
    'A frame type is not part of the protocol.',
    'Use a frame type of docs/protocol.md.',
  ),
  PROTO_OUT_OF_ORDER: entry(
    'protocol',
    false,
    'A frame arrived where the protocol does not allow it, such as any frame before NodeAttach.',
    'Attach first, and once.',
  ),
  PROTO_TOO_DEEP: entry('protocol', false, 'JSON is nested deeper than 64 levels.', 'Flatten the payload.'),
  MESSAGE_TOO_LARGE: entry(
    'protocol',
    false,
    'An envelope is larger than 262,144 bytes.',
    'Send less, or split it over the items of a streaming operation.',
  ),
  AUTH_MISSING: entry(
    'auth',
    false,
    'The sentinel needs a credential, and none was sent. The list of nodes, the trace and the metrics always need one; an attach needs one if the sentinel asks for credentials.',
    'Set FAME_ADMISSION_TOKEN_FILE to a file with a key of `npx fame-fabric key add`, or FAME_DATA_DIR to the data directory of the sentinel, which has its local key.',
  ),
  AUTH_INVALID: entry(
    'auth',
    false,
    'The key or token that was sent is not valid here: it is unknown, has expired, or was removed.',
    'Set FAME_ADMISSION_TOKEN_FILE to a file with a key of `npx fame-fabric key add`, or FAME_DATA_DIR to the data directory of the sentinel, which has its local key.',
  ),
  AUTH_EXPIRED: entry(
    'auth',
    false,
    'The token or client certificate that was sent has expired.',
    'Get a new one from its issuer. Nodes with FAME_ADMISSION_TOKEN_URL renew their tokens by themselves.',
  ),
  AUTH_UNAVAILABLE: entry(
    'auth',
    true,
    'A token could not be checked, because the key server of its issuer does not answer. Or a node could not get a token, because the token endpoint does not answer.',
    'Start the issuer, or correct FAME_JWKS_URL or FAME_ADMISSION_TOKEN_URL. The log of the sentinel has the reason.',
  ),
  AUTH_FORBIDDEN: entry(
    'auth',
    false,
    'The policy or the role of the node does not allow the attach, call, bind or page. Or the Origin or Host of a request is not one of FAME_ALLOWED_ORIGINS or FAME_ALLOWED_HOSTS. Or a caller without a credential listed conversations or answered an approval.',
    'Use a credential that permits this, or change the policy (docs/policy.md).',
  ),
  ADMIT_REFUSED: entry(
    'admission',
    false,
    'The sentinel refused an attach.',
    'Correct the attach request; the reason names the fault.',
  ),
  ADMIT_TIMEOUT: entry(
    'admission',
    true,
    'No NodeAttach arrived within 5 s of the connection.',
    'Send NodeAttach as the first message.',
  ),
  ADMIT_FULL: entry(
    'admission',
    true,
    'The sentinel accepts no more nodes: its session limit is reached, or it is shutting down.',
    'Try again later, raise FAME_MAX_SESSIONS, or attach to another sentinel.',
  ),
  QUOTA_EXCEEDED: entry(
    'admission',
    true,
    'A limit was reached: messages, bytes, open calls, streams, addresses, sessions or attaches of a principal; addresses, capabilities or open calls of a node, or of all nodes without the local key together; tasks or subscribers of an agent; readers of the trace; or turns, tokens, cost or conversations of a principal. An idle open call also ends with this code, to make room for a new one.',
    'Wait for answers or `retryAfterMs`, release unused resources, attach with the local key, or raise the limit.',
  ),
  NO_ROUTE: entry(
    'route',
    true,
    'No node serves the address or the capabilities.',
    'Check the address, and start the agent if `npx fame-fabric ps` does not list it.',
  ),
  NODE_GONE: entry(
    'route',
    true,
    'The node that serves the address lost its connection or left, or its agent stopped. Calls in flight fail when the resume window ends, new calls at once.',
    'Call again. If it keeps happening, read the log of the agent.',
  ),
  NODE_BUSY: entry(
    'route',
    true,
    'A queue is full: the outbound queue of the target node, a call queue of the agent, or the queue of a link. Or the node serves too many open calls, or the sentinel is shutting down. Nothing was executed: the link repeats such a call until its deadline.',
    'Call again after a pause, or with a longer `timeoutMs`.',
  ),
  READER_TOO_SLOW: entry(
    'route',
    false,
    'The caller reads too slowly: the unread items of a stream, or the unsent answers to the caller, exceed their limit. The operation may have run.',
    'Read the items of a stream as they arrive, and keep fewer calls with large answers open.',
  ),
  HOPS_EXCEEDED: entry(
    'route',
    false,
    'A call has no hops left: agents call each other in a circle, or in a chain of more than 8.',
    'Break the circle. A longer chain needs a larger `ttl` at its first call.',
  ),
  ADDRESS_INVALID: entry(
    'route',
    false,
    'An address does not follow the grammar `participant@location`.',
    'Correct the address.',
  ),
  ADDRESS_IN_USE: entry(
    'route',
    true,
    'Another node has bound the address, or the address still belongs to the key of a node that has left.',
    'Stop the other node, choose another address, attach with that key, or wait for FAME_ADDRESS_HOLD_MS.',
  ),
  ADDRESS_FORBIDDEN: entry(
    'route',
    false,
    'A node tried to bind a system or physical address that is not its own, or to advertise a capability for an address that it does not serve.',
    'Bind logical addresses only, and bind an address before you advertise its capabilities.',
  ),
  REPLY_TO_FORGED: entry(
    'route',
    false,
    'The replyTo of an envelope does not lie under the path of its sender.',
    'Use the path that NodeAttachAck assigned.',
  ),
  SID_FORGED: entry(
    'route',
    false,
    'The sid of an envelope is not the hash of the path of its sender.',
    'Leave `sid` out, or compute it from the path that NodeAttachAck assigned.',
  ),
  SIGNATURE_MISSING: entry(
    'route',
    false,
    'An envelope without a signature, or a payload without its digest, reached a node or sentinel with the profile overlay.',
    'Set FAME_SECURITY_PROFILE=overlay for the sender.',
  ),
  SIGNATURE_INVALID: entry(
    'route',
    false,
    'The signature of an envelope does not cover its content, or was not made with a key of its sender.',
    'Do not change signed envelopes on their way; sign with the key that the node announced in NodeAttach.',
  ),
  METHOD_NOT_FOUND: entry(
    'rpc',
    false,
    'The agent has no such operation.',
    'Check the name of the operation.',
  ),
  PARAMS_INVALID: entry(
    'rpc',
    false,
    'The parameters do not fit the operation; the message names the path of the fault.',
    'Correct the parameters.',
  ),
  REQUEST_INVALID: entry(
    'rpc',
    false,
    'A payload is not a JSON-RPC 2.0 request, or the request has no `corrId`.',
    'Correct the request.',
  ),
  INTERNAL: entry(
    'rpc',
    false,
    'The operation failed with an internal error; the message holds the id of its log line.',
    'Find that id in the log of the agent.',
  ),
  TASK_UNKNOWN: entry(
    'task',
    false,
    'There is no task with that id, or it belongs to another principal.',
    'Check the id and the credential, or start the task.',
  ),
  TASK_NOT_CANCELABLE: entry('task', false, 'The task has already ended.', 'Nothing to do.'),
  TASK_EXISTS: entry('task', false, 'A task with that id exists already.', 'Use a new id.'),
  TASK_FAILED: entry(
    'task',
    false,
    'A task failed, was canceled or asks for input; `details.state` has the state.',
    'Read the text of the agent in the message. Answer a task that asks for input with `start`, or start another task.',
  ),
  OPERATION_UNSUPPORTED: entry(
    'task',
    false,
    'The agent does not offer that task method, or handles calls only and no plain messages. Also the answer to a SecureOpen, to a KeyRequest without the profile overlay, and to an attach over HTTP.',
    'Use another method or another agent.',
  ),
  OUTBOUND_FORBIDDEN: entry(
    'task',
    false,
    'The agent must not fetch a URL that its caller gave: it is not a public https URL on an allowed port.',
    'Give an https URL of a public host on port 443 or 8443.',
  ),
  OUTBOUND_FAILED: entry(
    'task',
    true,
    'The agent could not fetch a URL that its caller gave: no connection, no response within 5 s, or more than 64 KiB.',
    'Check the server behind the URL.',
  ),
  CONVERSATION_UNKNOWN: entry(
    'conversation',
    false,
    'There is no conversation with that id, it has ended, or it belongs to another principal.',
    'Attach with the credential that started it, or start a new one with `npx fame-fabric chat`, or with `start_task` in a program.',
  ),
  CONVERSATION_EXISTS: entry(
    'conversation',
    false,
    'A conversation with that id exists already.',
    'Use a new id.',
  ),
  TURN_IN_PROGRESS: entry(
    'conversation',
    true,
    'Another turn of the conversation is running, and the turn policy is `reject`.',
    'Wait for its end, or cancel it with cancel_turn.',
  ),
  TURN_QUEUE_FULL: entry(
    'conversation',
    true,
    'Too many turns of the conversation are waiting.',
    'Wait for answers before you send more messages.',
  ),
  TURN_CONFLICT: entry(
    'conversation',
    false,
    'A turn id or retry key was used again with a different message, or with different options or results.',
    'Give each message its own turn id and retry key.',
  ),
  TURN_UNKNOWN: entry(
    'conversation',
    false,
    'The conversation has no turn with that id.',
    'Check the id of the turn.',
  ),
  TURN_TIMEOUT: entry(
    'turn',
    true,
    'A turn exceeded its time limit.',
    'Send the message again, or ask for less.',
  ),
  TURN_CANCELLED: entry('turn', false, 'The turn was cancelled.', 'Nothing to do.'),
  APPROVAL_UNKNOWN: entry(
    'turn',
    false,
    'No call with that id waits for approval: the id is wrong, or the turn has ended.',
    'Use the `id` of the `approval` event.',
  ),
  APPROVAL_ANSWERED: entry(
    'turn',
    false,
    'The call was already approved or refused, with a different answer or note.',
    'Nothing to do. The first answer counts.',
  ),
  TURN_STEP_LIMIT: entry(
    'turn',
    false,
    'A turn exceeded its limit of model and tool calls.',
    'Look for a loop in the tools.',
  ),
  TURN_CRASH_LOOP: entry(
    'turn',
    false,
    'A turn was interrupted by a crash 3 times without progress.',
    'Read the log of the agent for the cause, then send the message again with a new turn id.',
  ),
  MODEL_UNAVAILABLE: entry(
    'model',
    true,
    'The model server cannot be reached, or fails.',
    'Check OPENAI_BASE_URL and the server.',
  ),
  MODEL_TIMEOUT: entry(
    'model',
    true,
    'The model server did not respond in time.',
    'Try again, or raise FAME_MODEL_TIMEOUT_MS.',
  ),
  MODEL_AUTH: entry(
    'model',
    false,
    'The model server rejected the API key.',
    'Set OPENAI_API_KEY to a valid key.',
  ),
  MODEL_NOT_FOUND: entry(
    'model',
    false,
    'The model server does not know the model.',
    'Set MODEL_NAME to a model that your key may use.',
  ),
  MODEL_RATE_LIMITED: entry(
    'model',
    true,
    'The model server limits the request rate, or the quota of the account is used up.',
    'Wait, or check the plan of the account.',
  ),
  MODEL_REFUSED: entry(
    'model',
    false,
    'The model server refused the request.',
    'Correct the request; the message names the reason.',
  ),
  MODEL_ANSWER_EMPTY: entry(
    'model',
    false,
    'The answer of the model has no text and no calls: the token limit was reached before the first text, or a content filter removed it.',
    'Raise FAME_MAX_ANSWER_TOKENS, or change the message; the error names the cause.',
  ),
  TOOL_UNKNOWN: entry(
    'tool',
    false,
    'The model called a tool that does not exist.',
    'Nothing to do. The model receives the error as the result of its call.',
  ),
  TOOL_FAILED: entry('tool', false, 'A tool threw an error.', 'Read the log of the agent.'),
  TOOL_TIMEOUT: entry(
    'tool',
    true,
    'A tool exceeded its time limit.',
    'Raise its timeoutMs, or make it faster.',
  ),
  MCP_UNAVAILABLE: entry(
    'tool',
    true,
    'An MCP server cannot be started or reached, or ended during a call.',
    'Correct its command, URL or credentials; `npx fame-fabric doctor` checks them.',
  ),
  MCP_TOOL_CHANGED: entry(
    'tool',
    false,
    'An MCP server has changed or removed a tool since its definition was confirmed, so the tool was not called.',
    'Compare the definitions with `npx fame-fabric mcp show NAME`. If the change is intended, run `npx fame-fabric mcp confirm NAME` and restart the agent.',
  ),
  STORE_UNAVAILABLE: entry(
    'store',
    true,
    'The conversation store cannot be opened, read or written, or another process has locked it.',
    'The message names the cause. Check FAME_DATA_DIR, its permissions and the disk, or the server of FAME_STORE_URL.',
  ),
  STORE_CONFLICT: entry(
    'store',
    true,
    'Another process writes to the conversation, or has taken it over.',
    'Send the message again with the same turn id. Give agents that must not share a store a FAME_DATA_DIR each.',
  ),
  STORE_SCHEMA: entry(
    'store',
    false,
    'The store was written by a newer version, or is not a conversation store.',
    'Run the newer version, or set FAME_DATA_DIR or FAME_STORE_URL to another store.',
  ),
  STORE_FULL: entry(
    'store',
    true,
    'The disk is full, or the store has reached FAME_STORE_MAX_BYTES.',
    'Free space, remove conversations (`npx fame-fabric conversations rm ID --now`), or raise FAME_STORE_MAX_BYTES.',
  ),
  STATE_INVALID: entry(
    'store',
    false,
    'A key or value of the state of an agent is invalid. A key has 1 to 512 bytes and no control characters. A value is JSON with at most 65536 bytes by default.',
    'Correct the key, split the value, or raise `maxValueBytes` in `state` of the agent.',
  ),
  STATE_KEY_MISSING: entry(
    'store',
    false,
    'The state or the durable requests of an agent are encrypted with a master key that is missing. Nothing was changed.',
    'Add the master key to FAME_STATE_MASTER_KEY. The first one encrypts, and all of them decrypt.',
  ),
  REQUEST_CONFLICT: entry(
    'store',
    false,
    'A durable request has the id of an earlier request of the same principal, with other parameters.',
    'Use a new id, or repeat the request with the same parameters.',
  ),
  REQUEST_DEAD: entry(
    'store',
    false,
    'A durable request failed three times, or crashes interrupted it three times. The agent does not run it again by itself.',
    'Read the log of the agent, then run it again: `npx fame-fabric requests retry ID`.',
  ),
  FILE_EXISTS: entry(
    'store',
    false,
    'A backup or a restore would overwrite a file.',
    'Choose another name, or move the file away.',
  ),
  LINK_CLOSED: entry('link', true, 'The link closed while the call waited.', 'Connect again.'),
  LINK_DRAINING: entry('link', true, 'The link is draining and accepts no new calls.', 'Use another link.'),
  LINK_TIMEOUT: entry(
    'link',
    true,
    'The sentinel could not be reached, or did not acknowledge the attach in time.',
    'Start the sentinel (`make start`) or check FAME_DIRECT_ADMISSION_URL.',
  ),
  LINK_MISSING: entry(
    'link',
    false,
    'A tool, or a function of a team, called another agent, but runs without a link.',
    'Serve its agent, or pass `link` to the run. In tests, use the link of `testFabric`.',
  ),
  LINK_REFUSED: entry('link', false, 'The sentinel refused the attach.', 'The message names the reason.'),
  CALL_TIMEOUT: entry(
    'link',
    true,
    'No answer, or no next item of a stream, arrived in time.',
    'Call again, or allow more time (`timeoutMs`, `--timeout`).',
  ),
  CALL_CANCELLED: entry('link', false, 'The caller cancelled the call.', 'Nothing to do.'),
  CONFIG_INVALID: entry(
    'config',
    false,
    'The configuration has faults; the message lists all of them.',
    'Correct the variables that it names.',
  ),
  WORKFLOW_LIMIT: entry(
    'workflow',
    false,
    'A workflow exceeded one of its limits: nodes of a run, depth, or visits of an edge. The message holds the path.',
    'Look for an endless cycle, or raise maxNodes, maxDepth or maxVisits.',
  ),
  NODE_SETTLED: entry(
    'workflow',
    false,
    'Work was given to a task node that has already ended.',
    'Give it to a live node, such as `parent: commander.root`.',
  ),
  NODE_TIMEOUT: entry(
    'workflow',
    true,
    'A workflow handler exceeded its timeoutMs.',
    'Raise its timeoutMs, or make it faster.',
  ),
  COMMANDER_RUNNING: entry(
    'workflow',
    false,
    'run() was called on a commander that is running.',
    'Use submit() or call(), or wait for the end of the run.',
  ),
  COMMANDER_STOPPED: entry(
    'workflow',
    false,
    'Work was given to a commander that is not running.',
    'Call run() first.',
  ),
  WOULD_DEADLOCK: entry(
    'workflow',
    false,
    'A body or callback of a workflow waited for the end of the workflow that contains it.',
    'Use requestExit() inside, or do not await the call.',
  ),
  ABORTED: entry('workflow', false, 'The work was cancelled before it ended.', 'Nothing to do.'),
  PROMPT_UNFILLED: entry(
    'workflow',
    false,
    'The text of a prompt was requested before all of its placeholders had a value.',
    'Fill in the names that the error lists.',
  ),
  STREAM_ENDED: entry(
    'stream',
    true,
    'The response of a model ended without a finish reason.',
    'Send the message again. If it keeps happening, check the model server and any proxy in front of it.',
  ),
  STREAM_LOCKED: entry(
    'stream',
    false,
    'A stream was given to a second reader.',
    'Read each stream in one place.',
  ),
  BUFFER_OVERFLOW: entry(
    'stream',
    false,
    'A stream or a response exceeded its size limit before it was read.',
    'Read the stream as it arrives, or raise its limit.',
  ),
  ARGUMENTS_INVALID: entry(
    'stream',
    false,
    'The arguments of a function call are invalid, even after the model was asked to repair them.',
    'Read the issues in the details. Simplify the parameters, or use another model.',
  ),
  STRATEGY_UNKNOWN: entry(
    'strategy',
    false,
    'No prompt strategy has that name; the message lists the names.',
    'Use one of those names, or define the strategy.',
  ),
  NO_FUNCTION_CALL: entry(
    'strategy',
    true,
    'The model repeatedly answered with text where a function call is required.',
    'Simplify the prompt, or use another model.',
  ),
  PROTOCOL: entry(
    'strategy',
    false,
    'The model called a function that the dialogue does not allow at this point.',
    'Simplify the prompt, or use another model.',
  ),
  ANSWER_INVALID: entry(
    'strategy',
    false,
    'The text of an answer could not be parsed, even after the model was asked to repair it.',
    'Ask for a simpler form, or use another model.',
  ),
  REFINE_LIMIT: entry(
    'strategy',
    false,
    'A refining dialogue exceeded its limit of rounds.',
    'Give plainer answers, or raise max_iterations.',
  ),
  BUDGET_EXCEEDED: entry(
    'strategy',
    false,
    'The budget is used up, and no further model call is made.',
    'Raise the budget, or ask for less.',
  ),
  PRICE_UNKNOWN: entry(
    'strategy',
    false,
    'There is a budget in USD, but the model has no price.',
    'Add the price of the model to the price table.',
  ),
  TEAM_CONFIG: entry(
    'team',
    false,
    'The files of a team have faults; the message lists all of them with file, line and column.',
    'Correct the files (`npx fame-fabric team check FILE`).',
  ),
  ROUTE_UNKNOWN: entry(
    'team',
    false,
    'An agent of a team chose a value that its state map does not route.',
    'Add the value, or an `otherwise` route, to the state map.',
  ),
  HANDOFF_LIMIT: entry(
    'team',
    false,
    'A team exceeded its handoff limit.',
    'Look for a loop in the state maps (`npx fame-fabric team diagram FILE`), or raise the limits.',
  ),
  MODEL_CALL_LIMIT: entry(
    'team',
    false,
    'A team exceeded its limit of model calls in one turn.',
    'Look for a function that always returns data, or raise max_model_calls.',
  ),
});

export type ErrorCode = keyof typeof ERRORS;

/** True if `code`, which may come from the wire, is in the table. */
export const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(ERRORS, code);

/** Returns a code of the table: the given one, or INTERNAL for any other value. */
export const tableCode = (code: unknown): ErrorCode => (isErrorCode(code) ? code : 'INTERNAL');
