// Answers of durable requests: to the open call, to the message's sender, or to the address of a caller that an earlier process had.
import { type FabricError, type IncomingCall, type Logger, rpcResult } from '@fame-fabric/shared';
import { errorOfReply } from '@fame-fabric/shared/internal';
import type { Outbound } from '../operation.ts';
import type { AnswerTo, Outcome, OutcomeListener } from './live-request.ts';

/** An open call that waits for the outcome. */
export class ListeningCall implements OutcomeListener {
  readonly #call: IncomingCall;

  constructor(call: IncomingCall) {
    this.#call = call;
  }

  onOutcome(outcome: Outcome): void {
    if ('error' in outcome) this.#call.fail(errorOfReply(outcome.error));
    else void this.#call.reply(outcome.result);
  }

  onLost(error: FabricError): void {
    // The link of the caller repeats a call that was refused with NODE_BUSY.
    if (error.code === 'NODE_BUSY') this.#call.refuse(error);
    else this.#call.fail(error);
  }
}

/** The sender of a message, whose link waits for the result of the handler. */
export class ListeningMessage implements OutcomeListener {
  readonly #result = Promise.withResolvers<unknown>();

  get result(): Promise<unknown> {
    return this.#result.promise;
  }

  onOutcome(outcome: Outcome): void {
    if ('error' in outcome) this.#result.reject(errorOfReply(outcome.error));
    else this.#result.resolve(outcome.result);
  }

  onLost(error: FabricError): void {
    this.#result.reject(error);
  }
}

/**
 * Answers a caller that has no open call in this process. It may be gone; then it gets the outcome when it sends the request again.
 */
export function answerLate(
  { link, log }: { link: Outbound; log: Logger },
  { replyTo, corrId, isMessage }: AnswerTo,
  outcome: Outcome,
): void {
  if (replyTo === '' || (isMessage && (!('result' in outcome) || outcome.result === null))) return;
  const reply =
    'error' in outcome
      ? ({ jsonrpc: '2.0', id: corrId, error: outcome.error } as const)
      : rpcResult(corrId, outcome.result);
  try {
    link.send(replyTo, isMessage && 'result' in outcome ? outcome.result : reply, { corrId });
  } catch (error) {
    log.debug('the caller of a durable request could not be answered', { error });
  }
}
