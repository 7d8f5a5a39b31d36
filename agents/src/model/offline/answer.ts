// The answer of the offline model, a pure function of the request without streaming or time.
import type { ModelRequest, ResponseFormat } from '../model.ts';
import { type Conversation, callId, readConversation } from './conversation.ts';
import { describeResults } from './describe-results.ts';
import { fillArguments } from './fill.ts';
import { inPersona } from './persona.ts';
import { contextOf, opening, replyTo } from './talk.ts';
import { type PlannedCall, planTools } from './tool-use.ts';

export interface OfflineAnswer {
  readonly text: string;
  readonly calls: readonly (PlannedCall & { readonly id: string })[];
}

/** Writes an answer as JSON: by the schema of the request, or as `{"answer": …}`; undefined for plain text. */
function inFormat(
  format: ResponseFormat | undefined,
  conversation: Conversation,
  text: string,
): string | undefined {
  if (!format || format.type === 'text') return undefined;
  if (format.type === 'json_schema' && format.json_schema.schema?.type === 'object') {
    const { name: tool, schema } = format.json_schema;
    const context = { conversation, text: conversation.last, forced: true, tool };
    return JSON.stringify(fillArguments(schema, context).args);
  }
  return JSON.stringify({ answer: text });
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
      return plan.rest.length > 0 && plan.rest.length < conversation.lastClauses.length
        ? `${report} ${replyTo(context, plan.rest)}`
        : report;
    }
    return conversation.last ? replyTo(context, plan.rest) : opening(context);
  };
  const text = plain();
  const json = inFormat(request.response_format, conversation, text);
  if (json !== undefined) return { text: json, calls: [] };
  return {
    text: context.persona.exactly
      ? text
      : inPersona(text, conversation.system, conversation.userTexts.length),
    calls: [],
  };
}
