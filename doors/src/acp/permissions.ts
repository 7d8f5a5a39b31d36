// Sends the approvals of a turn to the editor as permission requests. An answer from elsewhere, such as the console, withdraws the request.
import type { ApprovalEvent, Conversation } from '@fame-fabric/client';
import { isFabricError, type Logger } from '@fame-fabric/shared';
import { type AgentContext, methods, type PermissionOption } from './sdk.ts';

const OPTIONS: PermissionOption[] = [
  { optionId: 'allow', name: 'Allow', kind: 'allow_once' },
  { optionId: 'reject', name: 'Reject', kind: 'reject_once' },
];

export interface PermissionsDeps {
  readonly sessionId: string;
  readonly client: AgentContext;
  readonly conversation: Pick<Conversation, 'answerApproval'>;
  readonly log: Logger;
}

export class Permissions {
  readonly #deps: PermissionsDeps;
  readonly #open = new Map<string, AbortController>();

  constructor(deps: PermissionsDeps) {
    this.#deps = deps;
  }

  /** Asks the editor, and passes the answer to the agent. Has no effect if the question is already open. */
  async ask(event: ApprovalEvent): Promise<void> {
    if (this.#open.has(event.id)) return;
    const { sessionId, client, conversation, log } = this.#deps;
    const controller = new AbortController();
    this.#open.set(event.id, controller);
    try {
      const { outcome } = await client.request(
        methods.client.session.requestPermission,
        {
          sessionId,
          toolCall: {
            toolCallId: event.id,
            title: titleOf(event),
            status: 'pending',
            ...(event.args ? { rawInput: event.args } : {}),
          },
          options: OPTIONS,
        },
        { cancellationSignal: controller.signal, stopWaitingOnCancel: true },
      );
      if (outcome.outcome !== 'selected') return; // the turn was cancelled
      await conversation.answerApproval(event.id, { approve: outcome.optionId === 'allow' });
    } catch (error) {
      // Another caller answered first.
      if (controller.signal.aborted || isFabricError(error, 'APPROVAL_ANSWERED')) return;
      log.warn('the editor did not answer a permission request; the turn waits for another answer', {
        error,
      });
    } finally {
      this.#open.delete(event.id);
    }
  }

  /** Withdraws a question that has been answered. */
  withdraw(id: string): void {
    this.#open.get(id)?.abort();
  }

  /** Withdraws all questions, at the end of the turn. */
  close(): void {
    for (const controller of this.#open.values()) controller.abort();
  }
}

const titleOf = ({ kind, name }: ApprovalEvent): string =>
  kind === 'budget' ? `Continue although the budget is used up: ${name}` : name;
