// One side of the load: a separate process that acts as the clients or as the agent, controlled over IPC. Figures cover the
// window that the command sets.
import { randomBytes } from 'node:crypto';
import { sidOf } from '@fame-fabric/shared/router';
import { answerCommands } from './child.ts';
import { attach, type FameNode, payloadAround } from './fame-node.ts';

export type Command =
  | { cmd: 'agent'; url: string; address: string; id: string; token?: string | undefined }
  | {
      cmd: 'clients';
      url: string;
      address: string;
      /** Address of every second call. @default that of all calls */
      otherAddress?: string | undefined;
      connections: number;
      open: number;
      size: number;
      stream: boolean;
      /** True if an agent sends one chunk of each stream in a turn of its event loop. @default up to 16 */
      drips?: boolean;
      textBytes?: number;
      token?: string | undefined;
      hasAllFields?: boolean;
      /** Percentage of the requests that belong to a sampled trace. @default none has a trace context */
      sampledPercent?: number | undefined;
    }
  | { cmd: 'idle'; url: string; count: number }
  | { cmd: 'bindMany'; url: string; count: number }
  | { cmd: 'churn'; url: string; count: number }
  | { cmd: 'window'; ms: number }
  | { cmd: 'count'; messages: number }
  | { cmd: 'nonReader'; url: string; address: string; open: number; size: number }
  | { cmd: 'closeLoad' }
  | { cmd: 'endStreams' }
  | { cmd: 'close' };

export interface WindowResult {
  trips: number;
  ms: number;
  p50us: number;
  p99us: number;
}

/** The optional fields that routers read or pass on: hops, metadata and a signature. Behind the payload is its digest. */
const FIELDS = `"ttl":8,"meta":{"timeout-ms":30000,"hops":1},"sec":{"sig":{"kid":"k0123456789abcdef","val":"${'v'.repeat(86)}","alg":"EdDSA"}},`;
/** The metadata of a request with a trace context. Those of `percent` of a hundred requests in a row are sampled. */
function traceMeta(nth: number, percent: number): string {
  const hex = nth.toString(16).padStart(16, '0');
  const isSampled = (nth * 37) % 100 < percent;
  return `"meta":{"traceparent":"00-aaaaaaaaaaaaaaaa${hex}-${hex}-0${isSampled ? 1 : 0}"},`;
}
const DIGEST = ',"pd":"1Onwe2yOg0dNOM8EPMDvK0"';

const load: FameNode[] = [];
const otherNodes: FameNode[] = [];
let trips = 0;
let latencies: number[] = [];
let onTrip: (() => void) | undefined;
let stopped = false;
/** The streams of the agent, by flow. */
const pumps = new Map<string, () => void>();
const runId = randomBytes(4).toString('hex');
let serial = 0;
let traced = 0;
const newId = (): string => runId + (serial++).toString(36).padStart(8, '0');

async function agent(url: string, address: string, id: string, token?: string): Promise<void> {
  const node = await attach(url, id, { token });
  otherNodes.push(node);
  const flowId = `f-${id}-${runId}`;
  node.onCredit = (creditedFlow) => pumps.get(creditedFlow)?.();
  node.onMessage = (envelope, text) => {
    if (envelope.frame.type !== 'Data') return;
    const { corrId, replyTo } = envelope;
    const payload = envelope.frame.payload as { method: string; params: unknown };
    if (payload.method === 'count' || payload.method === 'drip') {
      const chunksPerTurn = payload.method === 'drip' ? 1 : 16;
      // A stream on its own flow: chunks of 256 bytes, limited by the credit of the flow.
      const own = `s-${corrId}`;
      if (pumps.has(own)) return;
      const chunk = `{"version":"1.0","id":"${newId()}","to":"${replyTo}","replyTo":"__sys__@${node.path}","corrId":"${corrId}","flowId":"${own}","seqId":0,"flowFlags":0,"frame":{"type":"Data","payload":{"jsonrpc":"2.0","id":"${corrId}","result":{"text":"${'chunk '.repeat(30)}"}}}}`;
      // Credit limits the rate. A pause after each batch lets the process read its socket.
      const pump = (): void => {
        if (!pumps.has(own) || node.ws.readyState !== 1) return;
        for (let i = 0; i < chunksPerTurn; i++) {
          if (node.isBlocked(own)) return;
          node.send(own, chunk);
        }
        if (node.ws.bufferedAmount < 65_536) setImmediate(pump);
        else setTimeout(pump, 1);
      };
      pumps.set(own, pump);
      pump();
      return;
    }
    // Echo: the parameters of the request become the result.
    const at = text.indexOf('"params":') + 9;
    const end = text.lastIndexOf(
      '}}',
      text.lastIndexOf('"ts"') < at ? text.length : text.lastIndexOf('"ts"'),
    );
    const signed = text.lastIndexOf(DIGEST);
    const body = text.slice(at, signed < 0 ? end : signed - 1);
    const sid = signed < 0 ? '' : `"sid":"${sidOf(node.path)}",`;
    const fields = signed < 0 ? '' : FIELDS;
    node.send(
      flowId,
      `{"version":"1.0","id":"${newId()}",${sid}"to":"${replyTo}","corrId":"${corrId}","flowId":"${flowId}","seqId":0,"flowFlags":0,${fields}"frame":{"type":"Data","payload":{"jsonrpc":"2.0","id":"${corrId}","result":${body}}${signed < 0 ? '' : DIGEST}},"ts":"2026-01-01T00:00:00.000Z"}`,
    );
  };
  await node.bind(address);
}

async function clients(options: Extract<Command, { cmd: 'clients' }>): Promise<void> {
  const {
    url,
    address,
    connections,
    drips,
    hasAllFields,
    open,
    otherAddress = address,
    sampledPercent,
    size,
    stream,
    textBytes,
    token,
  } = options;
  stopped = false;
  const { head, tail } = payloadAround(size, stream ? (drips ? 'drip' : 'count') : 'echo', textBytes);
  const perConnection = Math.max(1, Math.floor(open / connections));
  for (let i = 0; i < connections; i++) {
    const id = `client${newId()}`;
    const node = await attach(url, id, { token });
    load.push(node);
    const replyTo = `__rpc__${id}@${node.path}`;
    const sid = hasAllFields ? `"sid":"${sidOf(node.path)}",` : '';
    const [fields, digest] = hasAllFields ? [FIELDS, DIGEST] : ['', ''];
    const sent = new Map<string, number>();
    let calls = 0;
    const call = (): void => {
      const meta = sampledPercent === undefined ? '' : traceMeta(++traced, sampledPercent);
      const corrId = newId();
      sent.set(corrId, performance.now());
      node.send(
        `f-${id}`,
        `{"version":"1.0","id":"${newId()}",${sid}"traceId":"${corrId}","to":"${calls++ % 2 === 0 ? address : otherAddress}","replyTo":"${replyTo}","rtype":${stream ? 4 : 2},"corrId":"${corrId}","flowId":"f-${id}","seqId":0,"flowFlags":0,${fields}${meta}"frame":{"type":"Data","payload":${head}${corrId}${tail}${digest}},"ts":"2026-01-01T00:00:00.000Z"}`,
      );
    };
    node.onMessage = (envelope) => {
      const at = sent.get(envelope.corrId);
      if (at === undefined) return;
      trips++;
      onTrip?.();
      if (stream) return;
      sent.delete(envelope.corrId);
      if (latencies.length < 200_000) latencies.push(performance.now() - at);
      if (!stopped) call();
    };
    for (let k = 0; k < perConnection; k++) call();
  }
}

const inBatches = async (
  count: number,
  size: number,
  one: (index: number) => Promise<unknown>,
): Promise<void> => {
  for (let i = 0; i < count; i += size) {
    await Promise.all(Array.from({ length: Math.min(size, count - i) }, (_, k) => one(i + k)));
  }
};

async function run(command: Command): Promise<unknown> {
  switch (command.cmd) {
    case 'agent':
      return agent(command.url, command.address, command.id, command.token);
    case 'clients':
      return clients(command);
    case 'idle':
      return inBatches(command.count, 50, async () =>
        otherNodes.push(await attach(command.url, `idle${newId()}`)),
      );
    case 'bindMany':
      return inBatches(Math.ceil(command.count / 500), 1, async () => {
        const node = await attach(command.url, `binder${newId()}`);
        otherNodes.push(node);
        await inBatches(Math.min(500, command.count), 50, () => node.bind(`svc${newId()}@fame.fabric`));
      });
    case 'churn':
      return inBatches(command.count, 50, async () => {
        const node = await attach(command.url, `churn${newId()}`);
        await node.bind(`svc${newId()}@fame.fabric`);
        node.close();
      });
    case 'window': {
      trips = 0;
      latencies = [];
      const from = performance.now();
      await new Promise((resolve) => setTimeout(resolve, command.ms));
      const ms = performance.now() - from;
      const sorted = latencies.toSorted((a, b) => a - b);
      const at = (q: number): number => Math.round((sorted[Math.floor(sorted.length * q)] ?? 0) * 1000);
      return { trips, ms, p50us: at(0.5), p99us: at(0.99) } satisfies WindowResult;
    }
    case 'count': {
      const target = trips + command.messages / 2;
      await new Promise<void>((resolve) => {
        onTrip = () => {
          if (trips < target) return;
          onTrip = undefined;
          resolve();
        };
      });
      return undefined;
    }
    case 'nonReader': {
      // A caller that sends, but neither reads nor returns credit.
      const node = await attach(command.url, `non-reader${newId()}`, { returnsCredit: false });
      otherNodes.push(node);
      const { head, tail } = payloadAround(command.size, 'echo');
      for (let i = 0; i < command.open; i++) {
        const corrId = newId();
        node.ws.send(
          Buffer.from(
            `{"version":"1.0","id":"${newId()}","to":"${command.address}","replyTo":"__rpc__d@${node.path}","rtype":2,"corrId":"${corrId}","flowId":"f-non-reader","seqId":0,"flowFlags":0,"frame":{"type":"Data","payload":${head}${corrId}${tail}},"ts":"x"}`,
          ),
        );
      }
      (node.ws as unknown as { _socket: { pause(): void } })._socket.pause();
      return undefined;
    }
    case 'closeLoad':
      stopped = true;
      for (const node of load.splice(0)) node.close();
      return undefined;
    case 'endStreams':
      pumps.clear();
      return undefined;
    case 'close':
      stopped = true;
      for (const node of [...load.splice(0), ...otherNodes.splice(0)]) node.ws.terminate();
      return undefined;
  }
}

answerCommands(run);
