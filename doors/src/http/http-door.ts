// The plain HTTP door: lists agents, describes them and calls their operations, for `curl` and for programs without a client library.
import type { Door, DoorDeps } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import { callRoutes } from './call-routes.ts';
import { baseUrlOf, curlOf, pathOf } from './examples.ts';
import { findAgent } from './find-agent.ts';
import { gatewayRoutes } from './gateway.ts';
import { httpRefusal } from './http-error.ts';
import { readJsonBodies, sendJson } from './json.ts';
import { openApiDocument } from './openapi.ts';
import { turnRoutes } from './turn-routes.ts';

export const httpDoor: Door = {
  name: 'http',
  plugin: (deps: DoorDeps) => async (app) => {
    const { fabric, options } = deps;
    readJsonBodies(app);
    app.get('/agents', async (request, reply) => {
      const visitor = await visitorOf(fabric, request, reply);
      const agents = (await visitor.agents()).map(({ address, description, isChat, operations }) => ({
        address,
        description,
        chat: isChat,
        operations: operations.map(({ name }) => name),
        url: `${baseUrlOf(request, options.publicUrl)}${pathOf(address)}`,
      }));
      return sendJson(request, reply, { agents });
    });
    app.get<{ Params: { name: string } }>('/agents/:name', async (request, reply) => {
      const visitor = await visitorOf(fabric, request, reply);
      const agent = await findAgent(visitor, request.params.name);
      const base = baseUrlOf(request, options.publicUrl);
      const { address, description, version, isChat, hasTasks, isDescribed } = agent;
      const operations = agent.operations.map((operation) => ({
        name: operation.name,
        description: operation.description,
        streams: operation.isStreaming,
        params: operation.params,
        result: operation.result,
        example: curlOf(base, agent, operation),
      }));
      const { models, model } = agent.raw;
      const note = isDescribed
        ? undefined
        : 'This agent does not describe itself. Call an operation by its name.';
      return sendJson(request, reply, {
        address,
        description,
        version,
        chat: isChat,
        tasks: hasTasks,
        model,
        models,
        note,
        operations,
      });
    });
    app.get('/openapi.json', async (request, reply) => {
      const visitor = await visitorOf(fabric, request, reply);
      const agents = await visitor.agents();
      return sendJson(request, reply, openApiDocument(agents, baseUrlOf(request, options.publicUrl)));
    });
    turnRoutes(app, deps);
    callRoutes(app, deps);
    gatewayRoutes(app, deps);
  },
  refusal: httpRefusal,
};
