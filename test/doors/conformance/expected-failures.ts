// The scenarios of conformance suites that a door does not pass, with the reason of each. A test compares the list with the runs, and
// docs/conformance.md prints it.

/** A scenario that fails, or that cannot run. */
export interface ExpectedFailure {
  readonly suite: 'MCP';
  /** The revision that the run asks for. */
  readonly revision: string;
  readonly scenario: string;
  /** True if the suite does not count it, for example because it belongs to an extension. */
  readonly isUnscored?: true;
  readonly reason: string;
}

const REVISIONS = ['2026-07-28', '2025-11-25'] as const;

const FIXED_RESOURCE = 'Reads a resource of the suite; the resources of the door are conversations.';
const FIXED_PROMPT = 'Gets a prompt of the suite; the prompts of the door address its chat agents.';
const LOG = 'The door has no log for clients. The protocol deprecates logs since 2026-07-28.';
const SUBSCRIPTION = 'Conversations have no subscriptions in this version.';
const TASK_TOOL =
  'Needs a tool of the suite that runs as a task. Turns of chat agents run as tasks, and the suite has no tool with a message.';

const TASK_SCENARIOS = [
  'tasks-lifecycle',
  'tasks-capability-negotiation',
  'tasks-wire-fields',
  'tasks-request-state-removal',
  'tasks-mrtr-input',
  'tasks-request-headers',
  'tasks-dispatch-and-envelope',
  'tasks-required-task-error',
  'tasks-mrtr-composition',
];

const both = (scenario: string, reason: string): ExpectedFailure[] =>
  REVISIONS.map((revision) => ({ suite: 'MCP', revision, scenario, reason }));

const older = (scenario: string, reason: string): ExpectedFailure => ({
  suite: 'MCP',
  revision: '2025-11-25',
  scenario,
  reason,
});

const newer = (scenario: string, reason: string, isUnscored?: true): ExpectedFailure => ({
  suite: 'MCP',
  revision: '2026-07-28',
  scenario,
  ...(isUnscored ? { isUnscored } : {}),
  reason,
});

export const EXPECTED_FAILURES: readonly ExpectedFailure[] = [
  ...both('resources-read-text', FIXED_RESOURCE),
  ...both('resources-read-binary', FIXED_RESOURCE),
  ...both('resources-templates-read', FIXED_RESOURCE),
  ...both('prompts-get-simple', FIXED_PROMPT),
  ...both('prompts-get-with-args', FIXED_PROMPT),
  ...both('prompts-get-embedded-resource', FIXED_PROMPT),
  ...both('prompts-get-with-image', FIXED_PROMPT),
  newer('input-required-result-non-tool-request', FIXED_PROMPT),
  older('logging-set-level', LOG),
  older('tools-call-with-logging', LOG),
  older('resources-subscribe', SUBSCRIPTION),
  older('resources-unsubscribe', SUBSCRIPTION),
  newer('http-custom-header-server-validation', 'The door copies no parameters to headers.', true),
  ...both('json-schema-2020-12', 'Agents declare parameters with zod, which has no `$anchor`.').map(
    (one) => ({
      ...one,
      isUnscored: true as const,
    }),
  ),
  ...TASK_SCENARIOS.map((scenario) => newer(scenario, TASK_TOOL, true)),
];
