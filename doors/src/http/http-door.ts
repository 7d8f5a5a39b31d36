// The plain HTTP door: lists the agents of the caller.
import type { FabricError } from '@fame-fabric/shared';
import type { Door, DoorDeps, Refusal } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';

export const httpDoor: Door = {
  name: 'http',
  plugin:
    ({ fabric }: DoorDeps) =>
    async (app) => {
      app.get('/agents', async (request, reply) => {
        const visitor = await visitorOf(fabric, request, reply);
        const agents = await visitor.agents();
        return { agents: agents.map(({ address, description }) => ({ address, description })) };
      });
    },
  refusal: ({ code, message }: FabricError): Refusal => ({ body: { error: { code, message } } }),
};
