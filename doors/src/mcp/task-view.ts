// Converts a turn to a task of the Tasks extension (io.modelcontextprotocol/tasks, SEP-2663): its state, and at the end its result.
import type { TurnReport } from '@fame-fabric/client';
import { errorOfCode } from '@fame-fabric/shared/internal';
import { formsOf } from './approvals.ts';
import type { TaskIds, TurnIds } from './ids.ts';
import { errorResult } from './results.ts';
import type { CallToolResult, PendingInputs } from './sdk.ts';
import { doneResult } from './turn-result.ts';

export interface TaskView {
  taskId: string;
  status: 'working' | 'input_required' | 'completed' | 'cancelled';
  statusMessage?: string;
  createdAt: string;
  lastUpdatedAt: string;
  ttlMs: number | null;
  pollIntervalMs: number;
  inputRequests?: PendingInputs;
  result?: CallToolResult;
}

const POLL_INTERVAL_MS = 1_000;
const AWAY_INTERVAL_MS = 5_000;

/**
 * Builds the view of a turn. A turn that failed is a completed task whose result is an error, because `failed` means an error of the
 * protocol. For a client without forms, a turn that waits for a person has the state working.
 */
export function taskOf(taskId: string, ids: TurnIds, report: TurnReport, canElicit: boolean): TaskView {
  const { approvals = [] } = report;
  const asked = approvals
    .map(({ asked_at }) => asked_at)
    .sort()
    .at(-1);
  const task = {
    taskId,
    createdAt: report.accepted_at,
    lastUpdatedAt: report.ended_at ?? asked ?? report.accepted_at,
    ttlMs: null,
    pollIntervalMs: POLL_INTERVAL_MS,
  };
  switch (report.state) {
    case 'completed':
      return { ...task, status: 'completed', result: resultOfReport(ids, report) };
    case 'failed':
      return { ...task, status: 'completed', result: failureOf(report) };
    case 'cancelled':
      return { ...task, status: 'cancelled', statusMessage: 'The turn was cancelled.' };
    case 'input-required': {
      const statusMessage = `Waits for a person: ${approvals.map(({ name }) => name).join(', ')}`;
      return canElicit && approvals.length > 0
        ? { ...task, status: 'input_required', statusMessage, inputRequests: formsOf(approvals) }
        : { ...task, status: 'working', statusMessage };
    }
    default:
      return { ...task, status: 'working' };
  }
}

const resultOfReport = (
  ids: TurnIds,
  { text, finish, tool_calls, usage, cost }: TurnReport,
): CallToolResult =>
  doneResult(ids, {
    text,
    usage,
    cost,
    ...(finish ? { finish } : {}),
    ...(tool_calls ? { tool_calls } : {}),
  });

const failureOf = ({ error }: TurnReport): CallToolResult =>
  errorResult(
    errorOfCode(error?.code, error?.message ?? 'The turn failed.', { retryable: error?.retryable }),
  );

/** The view of a task whose agent is unavailable. Its turn continues when the agent returns. */
export const awayTask = (taskId: string, { createdAt }: Pick<TaskIds, 'createdAt'>): TaskView => ({
  taskId,
  status: 'working',
  statusMessage: 'The agent is unavailable. The task continues when it returns.',
  createdAt,
  lastUpdatedAt: createdAt,
  ttlMs: null,
  pollIntervalMs: AWAY_INTERVAL_MS,
});
