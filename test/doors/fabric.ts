// The doors over HTTP in the process of a test: a sentinel on a free port with all doors, a chat agent, and a fake model server.
import { AgentWorker, ChatAgent, type ChatAgentOptions, openaiModel } from '@fame-fabric/agents';
import { type FakeOpenAI, type FakeOpenAIOptions, fakeOpenAI } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { openDoors } from '@fame-fabric/doors';
import { DOOR_NAMES, doorOfPath } from '@fame-fabric/doors/config';
import { Link, silentLog } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { startEmbedded } from '../kit/embedded-sentinel.ts';

export const CHAT = 'chat@fame.fabric';

export interface DoorsFabric extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Base URL for OpenAI clients. */
  readonly v1: string;
  /** The model server of the chat agent. */
  readonly model: FakeOpenAI;
  /** A client of the fabric beside the doors. */
  readonly client: Client;
}

/** Starts the fabric. Close it at the end of the test: `await using fabric = await doorsFabric()`. */
export async function doorsFabric(
  server: FakeOpenAIOptions = {},
  chat: Partial<ChatAgentOptions> = {},
): Promise<DoorsFabric> {
  const model = await fakeOpenAI(server);
  const sentinel = await startEmbedded({
    doors: {
      claims: (path) => doorOfPath(path, DOOR_NAMES) !== undefined,
      open: async (host) => openDoors(host, DOOR_NAMES),
    },
  });
  const agent = new ChatAgent({
    model: openaiModel({ model: 'fake', apiKey: 'none', baseURL: model.url, random: () => 0 }),
    ...chat,
  });
  const worker = new AgentWorker([agent], {
    link: new Link({ url: sentinel.url, dial: wsDial }),
    log: silentLog,
  });
  await worker.start();
  const client = await connect({ url: sentinel.url });
  const url = `http://127.0.0.1:${sentinel.port}`;
  return {
    url,
    v1: `${url}/v1`,
    model,
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await worker.drain(0);
      await sentinel.close();
      await model.close();
    },
  };
}
