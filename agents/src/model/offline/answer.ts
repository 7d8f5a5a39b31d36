// The answer of the offline model as a pure function of the request, without streaming and time.
import type { ModelRequest } from '../model.ts';
import { callId, clauses, readConversation } from './conversation.ts';
import { describeResults } from './describe-results.ts';
import { inPersona } from './persona.ts';
import { opening, replyTo, sceneOf } from './talk.ts';
import { type PlannedCall, planTools } from './tool-use.ts';

export interface OfflineAnswer {
  readonly text: string;
  readonly calls: readonly (PlannedCall & { readonly id: string })[];
}

/** Answers a request. Deterministic. */
export function answer(request: ModelRequest): OfflineAnswer {
  const talk = readConversation(request);
  const plan = planTools(request, talk);
  if (plan.calls.length > 0) {
    const calls = plan.calls.map((call, i) => ({ ...call, id: callId(talk.nextCall + i) }));
    return { text: '', calls };
  }
  const scene = sceneOf(talk);
  const plain = (): string => {
    if (scene.persona.exactly) return scene.persona.exactly;
    if (plan.question) return plan.question;
    if (talk.results.length > 0) {
      const report = describeResults(talk.results);
      // Clauses that no tool answered are answered in words.
      return plan.rest.length > 0 && plan.rest.length < clauses(talk.last).length
        ? `${report} ${replyTo(scene, plan.rest)}`
        : report;
    }
    return talk.last ? replyTo(scene, plan.rest) : opening(scene);
  };
  const text = plain();
  return { text: scene.persona.exactly ? text : inPersona(text, talk.system, talk.users.length), calls: [] };
}
