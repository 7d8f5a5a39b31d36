// The OpenAI door: `/v1/models` and `/v1/chat/completions` for clients of the Chat Completions API.
import type { Door, DoorDeps } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import { ChatCompletions } from './chat-completions.ts';
import { getModel, listModels } from './models.ts';
import { openAiRefusal } from './openai-error.ts';

export const openAiDoor: Door = {
  name: 'openai',
  plugin: (deps: DoorDeps) => async (app) => {
    const { fabric } = deps;
    const completions = new ChatCompletions(deps);
    app.get('/v1/models', async (request, reply) => listModels(await visitorOf(fabric, request, reply)));
    app.get<{ Params: { '*': string } }>('/v1/models/*', async (request, reply) =>
      getModel(await visitorOf(fabric, request, reply), request.params['*']),
    );
    app.post('/v1/chat/completions', (request, reply) => completions.create(request, reply));
  },
  refusal: openAiRefusal,
};
