// The scenarios of conformance suites that a door does not pass, with the reason of each. A test compares the list with the runs, and
// docs/conformance.md prints it.

/** A scenario that fails, or that cannot run. */
export interface ExpectedFailure {
  readonly suite: 'MCP' | 'Open Responses' | 'Chat Completions';
  /** The revision that the run asks for. */
  readonly revision: string;
  readonly scenario: string;
  /** The checks of the scenario that fail. The others pass. */
  readonly checks: readonly string[];
  /** True if the suite does not count it, for example because it belongs to an extension. */
  readonly isUnscored?: true;
  readonly reason: string;
}

const REVISIONS = ['2026-07-28', '2025-11-25'] as const;

const FIXED_RESOURCE =
  'The scenario reads a resource of the suite. The resources of the door are conversations.';
const FIXED_PROMPT =
  'The scenario gets a prompt of the suite. The prompts of the door send messages to chat agents.';
const LOG = 'The door sends no logs to clients. The protocol deprecated logs in 2026-07-28.';
const SUBSCRIPTION = 'The door does not support subscriptions to conversations.';
const TEXT_ONLY = 'Agents take text only, so the door refuses an image with 400 and names the part.';
const failure = (
  revision: (typeof REVISIONS)[number],
  scenario: string,
  reason: string,
  checks: readonly string[] = [scenario],
): ExpectedFailure => ({ suite: 'MCP', revision, scenario, checks, reason });

const both = (scenario: string, reason: string, checks?: readonly string[]): ExpectedFailure[] =>
  REVISIONS.map((revision) => failure(revision, scenario, reason, checks));

const unscored = (failures: readonly ExpectedFailure[]): ExpectedFailure[] =>
  failures.map((one) => ({ ...one, isUnscored: true }));

export const EXPECTED_FAILURES: readonly ExpectedFailure[] = [
  ...both('resources-read-text', FIXED_RESOURCE),
  ...both('resources-read-binary', FIXED_RESOURCE),
  ...both('resources-templates-read', FIXED_RESOURCE),
  ...both('prompts-get-simple', FIXED_PROMPT),
  ...both('prompts-get-with-args', FIXED_PROMPT),
  ...both('prompts-get-embedded-resource', FIXED_PROMPT),
  ...both('prompts-get-with-image', FIXED_PROMPT),
  failure('2026-07-28', 'input-required-result-non-tool-request', FIXED_PROMPT, [
    'sep-2322-non-tool-incomplete',
  ]),
  failure('2025-11-25', 'logging-set-level', LOG),
  failure('2025-11-25', 'tools-call-with-logging', LOG),
  failure('2025-11-25', 'resources-subscribe', SUBSCRIPTION),
  failure('2025-11-25', 'resources-unsubscribe', SUBSCRIPTION),
  ...unscored([
    failure(
      '2026-07-28',
      'tasks-lifecycle',
      'If the agent fails, the task is completed with an error result. A task never fails with a JSON-RPC error.',
      ['sep-2663-tasks-get-status-failed'],
    ),
    failure('2026-07-28', 'tasks-mrtr-input', 'A task asks one question at a time.', [
      'tasks-mrtr-partial-fulfillment',
    ]),
    failure(
      '2026-07-28',
      'tasks-mrtr-composition',
      'A tool of the door either asks before it runs or becomes a task, but not both.',
      ['sep-2663-mrtr-synchronous-before-task-creation'],
    ),
    failure(
      '2026-07-28',
      'tasks-required-task-error',
      'No tool requires the Tasks extension: a client without it waits for the result.',
      ['sep-2663-server-returns-missing-capability-when-required'],
    ),
    failure(
      '2026-07-28',
      'http-custom-header-server-validation',
      'The door does not support parameters in headers.',
      [
        'sep-2243-server-no-xmcp-tool',
        'sep-2243-server-decode-base64',
        'sep-2243-server-validate-param-match',
        'sep-2243-server-reject-invalid-param-chars',
        'sep-2243-server-reject-param-mismatch',
      ],
    ),
    ...both('json-schema-2020-12', 'Agents declare parameters with zod, which has no `$anchor`.', [
      'json-schema-2020-12-tool-found',
    ]),
  ]),
  {
    suite: 'Open Responses',
    revision: '2026-04-24',
    scenario: 'image-input',
    checks: ['image-input'],
    reason: TEXT_ONLY,
  },
  {
    suite: 'Chat Completions',
    revision: '2.3.0',
    scenario: 'chat-image-input',
    checks: ['chat-image-input'],
    reason: TEXT_ONLY,
  },
];
