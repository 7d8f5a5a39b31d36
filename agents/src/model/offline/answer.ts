// The answer of the offline model, a pure function of the request without streaming or time.
import type { ModelRequest } from '../model.ts';
import { callId, clauses, readConversation } from './conversation.ts';
import { describeResults } from './describe-results.ts';
import { inPersona } from './persona.ts';
import { contextOf, opening, replyTo } from './talk.ts';
import { type PlannedCall, planTools } from './tool-use.ts';

export interface OfflineAnswer {
  readonly text: string;
  readonly calls: readonly (PlannedCall & { readonly id: string })[];
}

/** Answers a request. Deterministic. */
export function answer(request: ModelRequest): OfflineAnswer {
  const conversation = readConversation(request);
  const plan = planTools(request, conversation);
  if (plan.calls.length > 0) {
    const calls = plan.calls.map((call, i) => ({ ...call, id: callId(conversation.nextCall + i) }));
    return { text: '', calls };
  }
  const context = contextOf(conversation);
  const plain = (): string => {
    if (context.persona.exactly) return context.persona.exactly;
    if (plan.question) return plan.question;
    if (conversation.results.length > 0) {
      const report = describeResults(conversation.results);
      // The rules answer the clauses that no tool answers.
      return plan.rest.length > 0 && plan.rest.length < clauses(conversation.last).length
        ? `${report} ${replyTo(context, plan.rest)}`
        : report;
    }
    return conversation.last ? replyTo(context, plan.rest) : opening(context);
  };
  const text = plain();
  return {
    text: context.persona.exactly
      ? text
      : inPersona(text, conversation.system, conversation.userTexts.length),
    calls: [],
  };
}
