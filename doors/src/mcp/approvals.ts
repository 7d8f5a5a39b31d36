// Approvals as MCP forms: a turn that waits for an approval asks the client's user with a form.
import type { ApprovalAnswer, PendingApproval } from '@fame-fabric/client';
import type { PendingInputs } from './sdk.ts';

const MAX_ARGS_CHARS = 2_000;

function questionOf({ kind, name, args }: PendingApproval): string {
  const given = JSON.stringify(args ?? {});
  const shown = given.length > MAX_ARGS_CHARS ? `${given.slice(0, MAX_ARGS_CHARS)} ...` : given;
  return kind === 'budget'
    ? `The conversation has used up its budget (${name}: ${shown}). Approve more?`
    : `The agent wants to call ${name} with ${shown}. Approve?`;
}

/** A form for each approval, by the id of its call. */
export const formsOf = (approvals: readonly PendingApproval[]): PendingInputs =>
  Object.fromEntries(
    approvals.map((approval) => [
      approval.call_id,
      {
        method: 'elicitation/create' as const,
        params: {
          mode: 'form' as const,
          message: questionOf(approval),
          requestedSchema: {
            type: 'object' as const,
            properties: {
              approve: { type: 'boolean' as const, title: 'Approve', description: 'False refuses the call.' },
              note: {
                type: 'string' as const,
                title: 'Note',
                description: 'Shown to the model.',
                maxLength: 1_000,
              },
            },
            required: ['approve'],
          },
        },
      },
    ]),
  );

/**
 * Reads the response to a form. Declining the form refuses the call. Returns undefined for a form that was closed without a choice and for
 * an invalid response, so that the person is asked again.
 */
export function answerOf(response: unknown): ApprovalAnswer | undefined {
  const { action, content } = (response ?? {}) as {
    action?: unknown;
    content?: { approve?: unknown; note?: unknown } | null;
  };
  if (action === 'decline') return { approve: false };
  if (action !== 'accept' || typeof content?.approve !== 'boolean') return undefined;
  const note = typeof content.note === 'string' && content.note !== '' ? content.note : undefined;
  return { approve: content.approve, note };
}

/** Instructions for a client without forms. */
export const howToAnswer = (approvals: readonly PendingApproval[], answerTool: string): string =>
  [
    'The turn waits for a person:',
    ...approvals.map((approval) => `- ${questionOf(approval)} (call_id ${approval.call_id})`),
    `Answer with the tool ${answerTool}. Then call this tool again with the same turn_id to get the reply.`,
  ].join('\n');
