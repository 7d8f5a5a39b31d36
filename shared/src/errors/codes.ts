// The error codes of Fame Fabric, by area. Callers match codes, so a code is never renamed or reused. The same code is used on
// the wire (NACKs, JSON-RPC `error.data.code`), in logs and in docs/errors.md, which a test compares with this table.
//
// There is one table for all workspaces: clients and sentinels receive the codes of agents over the wire and must know them
// without importing agents. Numbers of a transport stand beside it: JSON-RPC in `protocol/rpc.ts`, WebSocket close codes in
// the sentinel, exit codes in `cli/exit-codes.ts`.

/** What the table says about a code. */
export interface ErrorEntry {
  /** The part of the system that raises it. */
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
  /** Whether the same request may succeed later without a change. */
  readonly retryable: boolean;
  /** When it is raised, in one sentence that stands in docs/errors.md. */
  readonly when: string;
  /** What to do about it, in one sentence that stands in docs/errors.md. */
  readonly fix: string;
}

const entry = (area: ErrorEntry['area'], retryable: boolean, when: string, fix: string): ErrorEntry =>
  Object.freeze({ area, retryable, when, fix });

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
    'A frame came where the protocol does not allow it, such as anything before NodeAttach.',
    'Attach first, once.',
  ),
  PROTO_TOO_DEEP: entry('protocol', false, 'JSON is nested deeper than 64 levels.', 'Flatten the payload.'),
  MESSAGE_TOO_LARGE: entry(
    'protocol',
    false,
    'An envelope is larger than 262,144 bytes.',
    'Send less, or send it in pieces through a streaming operation.',
  ),
  AUTH_FORBIDDEN: entry(
    'auth',
    false,
    'The Origin or Host of a request is not allowed.',
    'Add the name to FAME_ALLOWED_ORIGINS or FAME_ALLOWED_HOSTS.',
  ),
  ADMIT_REFUSED: entry(
    'admission',
    false,
    'An attach was refused; the reason says why.',
    'Correct the attach request.',
  ),
  ADMIT_TIMEOUT: entry(
    'admission',
    true,
    'No NodeAttach came within 5 s of the connection.',
    'Send NodeAttach as the first message.',
  ),
  ADMIT_FULL: entry(
    'admission',
    true,
    'The sentinel has as many sessions as it may have.',
    'Try again later, or raise FAME_MAX_SESSIONS.',
  ),
  QUOTA_EXCEEDED: entry(
    'admission',
    true,
    'A node used up one of its quotas: addresses, open calls, message rate or byte rate.',
    'Slow down, release what is not needed, or raise the quota in the sentinel.',
  ),
  NO_ROUTE: entry(
    'route',
    true,
    'Nobody serves the address or the capabilities.',
    'Check the address and that the agent is attached (`npx fame ps`).',
  ),
  NODE_GONE: entry(
    'route',
    true,
    'The node that was handling the call left and did not come back within the resume window.',
    'Call again; if it stays, look at the log of the agent.',
  ),
  NODE_BUSY: entry(
    'route',
    true,
    'The outbound queue of the target node is full.',
    'Call again later with a pause.',
  ),
  HOPS_EXCEEDED: entry(
    'route',
    false,
    'The `ttl` of the envelope was used up on its way.',
    'Look for a routing loop, or send with a larger ttl.',
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
    'The address is bound by another node that is alive.',
    'Stop the other node or choose another address.',
  ),
  ADDRESS_FORBIDDEN: entry(
    'route',
    false,
    'A node tried to bind a system or physical address that is not its own.',
    'Bind logical addresses only.',
  ),
  REPLY_TO_FORGED: entry(
    'route',
    false,
    'The replyTo of an envelope does not lie under the path of its sender.',
    'Use the path that NodeAttachAck assigned.',
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
    'Parameters do not fit the operation; the message names the path of the fault.',
    'Correct the parameters.',
  ),
  REQUEST_INVALID: entry('rpc', false, 'A payload is not a JSON-RPC 2.0 request.', 'Correct the request.'),
  INTERNAL: entry(
    'rpc',
    false,
    'The operation failed for a reason of its own; the id in the message stands in the log.',
    'Look into the log of the agent.',
  ),
  TASK_UNKNOWN: entry('task', false, 'There is no task with that id.', 'Start it, or check the id.'),
  TASK_NOT_CANCELABLE: entry('task', false, 'The task has already ended.', 'Nothing to do.'),
  TASK_EXISTS: entry('task', false, 'A task with that id exists already.', 'Use a new id.'),
  OPERATION_UNSUPPORTED: entry(
    'task',
    false,
    'This agent does not offer that task method.',
    'Use another method or agent.',
  ),
  OUTBOUND_FORBIDDEN: entry(
    'task',
    false,
    'A URL that a caller gave may not be fetched: its scheme, port or address is not a public https one.',
    'Give an https URL of a public host on port 443 or 8443.',
  ),
  OUTBOUND_FAILED: entry(
    'task',
    true,
    'A URL that a caller gave could not be fetched: no connection, no answer in 5 s, or more than 64 KiB.',
    'Check the server behind the URL.',
  ),
  CONVERSATION_UNKNOWN: entry(
    'conversation',
    false,
    'There is no conversation with that id, or it has ended.',
    '`npx fame chat` begins a new one; programs call `start_task`.',
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
    'Another turn of the conversation is running and the turn policy is `reject`.',
    'Wait for it, or cancel it with cancel_turn.',
  ),
  TURN_QUEUE_FULL: entry(
    'conversation',
    true,
    'Too many turns of the conversation are waiting.',
    'Wait for answers before asking more.',
  ),
  TURN_CONFLICT: entry(
    'conversation',
    false,
    'A turn id was used again with another message.',
    'Give every message a turn id of its own.',
  ),
  TURN_TIMEOUT: entry('turn', true, 'A turn ran longer than it may.', 'Ask again, or ask for less.'),
  TURN_CANCELLED: entry('turn', false, 'The turn was cancelled.', 'Nothing to do.'),
  TURN_STEP_LIMIT: entry(
    'turn',
    false,
    'A turn called the model or its tools more often than it may.',
    'Look for a loop in the tools.',
  ),
  TURN_CRASH_LOOP: entry(
    'turn',
    false,
    'A turn was interrupted by a crash 3 times and never got further.',
    'Look into the log of the agent for what ends it; ask again with a new turn id.',
  ),
  MODEL_UNAVAILABLE: entry(
    'model',
    true,
    'The model server cannot be reached or fails.',
    'Check OPENAI_BASE_URL and the server.',
  ),
  MODEL_TIMEOUT: entry(
    'model',
    true,
    'The model server did not answer in time.',
    'Try again, or raise FAME_MODEL_TIMEOUT_MS.',
  ),
  MODEL_AUTH: entry(
    'model',
    false,
    'The model server refused the key.',
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
    'The model server answers too many requests, or the quota is used up.',
    'Wait, or check the plan of the account.',
  ),
  MODEL_REFUSED: entry(
    'model',
    false,
    'The model server refused the request.',
    'The message says why; correct the request.',
  ),
  TOOL_UNKNOWN: entry(
    'tool',
    false,
    'The model called a tool that does not exist.',
    'Nothing; the model is told.',
  ),
  TOOL_BAD_INPUT: entry(
    'tool',
    false,
    'The arguments of a tool call are not valid.',
    'Nothing; the model is told.',
  ),
  TOOL_FAILED: entry('tool', false, 'A tool threw an error.', 'Look into the log of the agent.'),
  TOOL_TIMEOUT: entry(
    'tool',
    true,
    'A tool ran longer than it may.',
    'Raise its timeoutMs or make it faster.',
  ),
  STORE_UNAVAILABLE: entry(
    'store',
    true,
    'The store of the conversations cannot be opened, read or written, or is locked.',
    'The message names the cause; check FAME_DATA_DIR, its permissions and the disk.',
  ),
  STORE_CONFLICT: entry(
    'store',
    true,
    'Another process writes to the conversation, or took it over.',
    'Ask again with the same turn id; give agents that must not share a store a FAME_DATA_DIR each.',
  ),
  STORE_SCHEMA: entry(
    'store',
    false,
    'The store was written by a newer version, or is not a store of conversations.',
    'Run the newer version, or set FAME_DATA_DIR to another directory.',
  ),
  STORE_FULL: entry(
    'store',
    true,
    'The disk, or the room that FAME_STORE_MAX_BYTES grants, is used up.',
    'Free space, remove conversations (`npx fame conversations rm`), or raise FAME_STORE_MAX_BYTES.',
  ),
  LINK_CLOSED: entry('link', true, 'The link was closed while the call waited.', 'Connect again.'),
  LINK_DRAINING: entry(
    'link',
    true,
    'The link is being drained and takes no new calls.',
    'Use another link.',
  ),
  LINK_TIMEOUT: entry(
    'link',
    true,
    'The sentinel could not be reached or did not answer the attach in time.',
    'Start the sentinel (`make start`) or check FAME_DIRECT_ADMISSION_URL.',
  ),
  LINK_REFUSED: entry('link', false, 'The sentinel refused the attach.', 'The message says why.'),
  CALL_TIMEOUT: entry(
    'link',
    true,
    'No answer, or no next item of a stream, came in time.',
    'Call again, or give the call more time (`timeoutMs`, `--timeout`).',
  ),
  CALL_CANCELLED: entry('link', false, 'The caller gave the call up.', 'Nothing to do.'),
  CONFIG_INVALID: entry(
    'config',
    false,
    'The configuration has faults; all of them are listed.',
    'Correct the variables that are named.',
  ),
  WORKFLOW_LIMIT: entry(
    'workflow',
    false,
    'A workflow passed one of its bounds: nodes of a run, depth, or visits of an edge; the message holds the path.',
    'Look for a cycle that never leaves, or raise maxNodes, maxDepth or maxVisits.',
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
    'A handler of a workflow ran longer than its timeoutMs.',
    'Raise its timeoutMs or make it faster.',
  ),
  COMMANDER_RUNNING: entry(
    'workflow',
    false,
    'run() was called on a commander that is running.',
    'Use submit() or call(), or wait for the run to end.',
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
    'A body or callback of a workflow waited for the end of the workflow that waits for it.',
    'Use requestExit() from inside, or do not await the call.',
  ),
  ABORTED: entry('workflow', false, 'The work was cancelled before it ended.', 'Nothing to do.'),
  PROMPT_UNFILLED: entry(
    'workflow',
    false,
    'The text of a prompt was asked for while it has places without a value.',
    'Fill in the names that the error tells.',
  ),
  STREAM_ENDED: entry(
    'stream',
    true,
    'The answer of a model ended without a finish reason.',
    'Ask again; if it stays, look at the model server or the proxy before it.',
  ),
  STREAM_LOCKED: entry(
    'stream',
    false,
    'One branch of a stream was given to a second reader.',
    'Read each branch in one place.',
  ),
  BUFFER_OVERFLOW: entry(
    'stream',
    false,
    'More text waited in a stream, or came in one answer, than its limit allows.',
    'Read the stream while it arrives, or raise its limit.',
  ),
  ARGUMENTS_INVALID: entry(
    'stream',
    false,
    'The arguments of a function call are not valid, also after the model was asked to repair them.',
    'Look at the issues in the details; simplify the parameters or use another model.',
  ),
  STRATEGY_UNKNOWN: entry(
    'strategy',
    false,
    'No prompt strategy has that name; the message lists those that exist.',
    'Use a name of the list, or define the strategy.',
  ),
  NO_FUNCTION_CALL: entry(
    'strategy',
    true,
    'The model answered with text only, although a function call was asked of it several times.',
    'Make the prompt plainer, or use another model.',
  ),
  PROTOCOL: entry(
    'strategy',
    false,
    'The model made a move that the dialogue does not allow at this point.',
    'Make the prompt plainer, or use another model.',
  ),
  REFINE_LIMIT: entry(
    'strategy',
    false,
    'A refining dialogue took more rounds than it may.',
    'Answer more plainly, or raise max_iterations.',
  ),
  BUDGET_EXCEEDED: entry(
    'strategy',
    false,
    'The budget is used up; no further model call is made.',
    'Raise the budget, or ask for less.',
  ),
  PRICE_UNKNOWN: entry(
    'strategy',
    false,
    'A budget in USD is set and the model has no price.',
    'Add the price of the model to the price table.',
  ),
  TEAM_CONFIG: entry(
    'team',
    false,
    'The files of a team have faults; all of them are listed with file, line and column.',
    'Correct the files (`npx fame team check FILE`).',
  ),
  ROUTE_UNKNOWN: entry(
    'team',
    false,
    'An agent of a team chose a value for which its state map has no route.',
    'Add the value, or an `otherwise` route, to the state map.',
  ),
  HANDOFF_LIMIT: entry(
    'team',
    false,
    'A team handed a message over more often than it may.',
    'Look for a loop in the state maps (`npx fame team diagram FILE`), or raise the limits.',
  ),
  MODEL_CALL_LIMIT: entry(
    'team',
    false,
    'A team called models more often in one turn than it may.',
    'Look for a function that always returns data, or raise max_model_calls.',
  ),
});

export type ErrorCode = keyof typeof ERRORS;

/** True if `code` is a code of the table, such as one that came over the wire. */
export const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(ERRORS, code);
