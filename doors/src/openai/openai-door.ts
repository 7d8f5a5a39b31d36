// The OpenAI door: `/v1/models`, `/v1/chat/completions`, `/v1/responses` and `/v1/conversations`.
import type { Door, DoorDeps } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import { ChatCompletions } from './chat-completions.ts';
import { getModel, listModels } from './models.ts';
import { openAiRefusal } from './openai-error.ts';
import { ResponseSockets } from './responses/response-sockets.ts';
import { responsesRoutes } from './responses/routes.ts';

export const openAiDoor: Door = {
  name: 'openai',
  plugin: (deps: DoorDeps) => async (app) => {
    const { fabric } = deps;
    const completions = new ChatCompletions(deps);
    app.get('/v1/models', async (request, reply) => listModels(await visitorOf(fabric, request, reply)));
    app.get<{ Params: { '*': string } }>('/v1/models/*', async (request, reply) =>
      getModel(await visitorOf(fabric, request, reply), request.params['*']),
    );
    await app.register(responsesRoutes(deps));
    app.post('/v1/chat/completions', (request, reply) => completions.create(request, reply));
  },
  sockets: (deps) => new ResponseSockets(deps),
  refusal: openAiRefusal,
};
