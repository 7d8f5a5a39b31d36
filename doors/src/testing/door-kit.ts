// One door over an in-memory fabric, for unit tests: a sentinel without a port, agents on real links, and requests by `inject`.
import { type Agent, AgentWorker, ChatAgent, type ChatAgentOptions } from '@fame-fabric/agents';
import { type Scripted, type ScriptedModel, scriptedModel } from '@fame-fabric/agents/testing';
import { Client } from '@fame-fabric/client';
import {
  type MemoryDoorHost,
  type MemoryDoorHostOptions,
  startMemoryDoorHost,
} from '@fame-fabric/sentinel/testing';
import { Link, systemClock } from '@fame-fabric/shared';
import { CaptureLog } from '@fame-fabric/shared/testing';
import type { Door, DoorOptions } from '../door.ts';
import { type DoorApp, makeDoorApp } from '../door-app.ts';
import { DEFAULT_DOOR_OPTIONS } from '../doors.ts';
import { EmbeddedSource } from '../fabric/embedded-source.ts';
import { LinkFabric } from '../fabric/link-fabric.ts';

/** `clock` is that of the sentinel and the door; agents have the clock of the system. */
export interface DoorKitOptions extends Omit<MemoryDoorHostOptions, 'log'> {
  /** Replies of the model of the chat agent at `chat@fame.fabric`. @default no chat agent */
  readonly replies?: readonly Scripted[] | undefined;
  /** Further options of the chat agent. */
  readonly chat?: Partial<ChatAgentOptions> | undefined;
  /** Further agents. */
  readonly agents?: readonly Agent[] | undefined;
  readonly options?: Partial<DoorOptions> | undefined;
}

export interface DoorKit extends AsyncDisposable {
  /** Sends a request, as `inject` of fastify does. Its Host is localhost. With `payloadAsStream: true` the response can be read as it arrives. */
  readonly inject: DoorApp['inject'];
  /** Answers an upgrade to a WebSocket. */
  readonly upgrade: DoorApp['upgrade'];
  /** The model of the chat agent. */
  readonly model: ScriptedModel;
  /** Serves further agents. */
  serve(agents: readonly Agent[]): Promise<void>;
  /** A caller that does not use the door. Its principal is `local`. */
  readonly client: Client;
  readonly fabric: LinkFabric;
  readonly sentinel: MemoryDoorHost;
  readonly log: CaptureLog;
  close(): Promise<void>;
}

/** Starts a door over a fabric in memory. Close it at the end of the test: `await using kit = await doorKit(httpDoor)`. */
export async function doorKit(
  door: Door,
  { replies, chat, agents = [], options = {}, ...hostOptions }: DoorKitOptions = {},
): Promise<DoorKit> {
  const { clock = systemClock } = hostOptions;
  const log = new CaptureLog();
  const sentinel = startMemoryDoorHost({ ...hostOptions, log });
  const all: DoorOptions = { ...DEFAULT_DOOR_OPTIONS, ...options };
  const fabric = new LinkFabric({ source: new EmbeddedSource(sentinel.host), clock, log }, all);
  const deps = { fabric, options: all, clock, log };
  const { origins } = sentinel.host;
  const app = await makeDoorApp(
    { door, plugin: door.plugin(deps), sockets: door.sockets?.(deps), origins, log },
    all,
  );
  const model = scriptedModel(replies ?? []);
  const workers: AgentWorker[] = [];
  const newLink = (): Link => new Link({ url: 'memory://test', dial: sentinel.dial, log });
  const serve = async (more: readonly Agent[]): Promise<void> => {
    const worker = new AgentWorker(more, { link: newLink(), log });
    await worker.start();
    workers.push(worker);
  };
  const clientLink = newLink();
  await clientLink.connect();
  const chatAgents = replies === undefined ? [] : [new ChatAgent({ model, ...chat })];
  if (chatAgents.length + agents.length > 0) await serve([...chatAgents, ...agents]);
  const close = async (): Promise<void> => {
    await fabric.close();
    await app.close();
    await Promise.all(workers.map((worker) => worker.drain(0)));
    await clientLink.close();
    sentinel.close();
  };
  return {
    inject: app.inject,
    upgrade: app.upgrade,
    model,
    serve,
    client: new Client(clientLink),
    fabric,
    sentinel,
    log,
    close,
    [Symbol.asyncDispose]: close,
  };
}
