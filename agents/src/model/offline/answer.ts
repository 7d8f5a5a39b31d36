// One request in, one answer out: what the offline model does, without streaming or time. A pure function of the request.
import type { ModelRequest } from '../model.ts';
import { callId, clauses, readConversation } from './conversation.ts';
import { inPersona } from './persona.ts';
import { opening, say, sceneOf } from './talk.ts';
import { tellResults } from './tell-results.ts';
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
    if (plan.ask) return plan.ask;
    if (talk.results.length > 0) {
      const told = tellResults(talk.results);
      // What else was asked is answered as well, unless the tools have answered all of it.
      return plan.rest.length > 0 && plan.rest.length < clauses(talk.last).length
        ? `${told} ${say(scene, plan.rest)}`
        : told;
    }
    return talk.last ? say(scene, plan.rest) : opening(scene);
  };
  const said = plain();
  return { text: scene.persona.exactly ? said : inPersona(said, talk.system, talk.users.length), calls: [] };
}
