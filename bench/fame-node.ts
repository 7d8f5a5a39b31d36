// A minimal node for the benchmark, which implements the wire protocol and its credits by hand. It does not use our link, so
// that changes of the link do not affect the figures of the router. `link.ts` measures the link.
import { randomBytes } from 'node:crypto';
import { WebSocket } from 'ws';

export interface FameNode {
  readonly path: string;
  send(flowId: string, text: string): void;
  /** True if the flow is out of credit. */
  isBlocked(flowId: string): boolean;
  /** Called when credit arrived. */
  onCredit: (flowId: string) => void;
  onMessage: (
    envelope: {
      corrId: string;
      replyTo?: string;
      flowId: string;
      rtype?: number;
      frame: { type: string; payload: never };
    },
    text: string,
  ) => void;
  bind(address: string): Promise<void>;
  close(): void;
  readonly ws: WebSocket;
}

interface FlowState {
  balance: number;
  received: number;
  waiting: string[];
}

/** Attaches to `url/<id>`. With `returnsCredit: false` the node never returns credit. */
export async function attach(
  url: string,
  id: string,
  options: { returnsCredit?: boolean; token?: string | undefined } = {},
): Promise<FameNode> {
  const { token } = options;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const ws = new WebSocket(`${url}/${id}`, { perMessageDeflate: false, headers });
  const flows = new Map<string, FlowState>();
  const acks = new Map<string, (frame: Record<string, string>) => void>();
  let usesCredit = true;
  const flow = (flowId: string): FlowState => {
    let state = flows.get(flowId);
    if (!state) {
      state = { balance: 32, received: 0, waiting: [] };
      flows.set(flowId, state);
    }
    return state;
  };
  // The relays have no credits. Through them, the two ends of a stream grant each other credit in Data frames.
  const needsCredit = (flowId: string): boolean => usesCredit || flowId.startsWith('s-');
  const addCredit = (flowId: string): void => {
    const state = flow(flowId);
    state.balance = 32;
    while (state.balance > 0 && state.waiting.length > 0) {
      state.balance--;
      write(state.waiting.shift()!);
    }
    node.onCredit(flowId);
  };
  const write = (text: string): void => ws.send(Buffer.from(text), { binary: true });
  const node: FameNode = {
    path: '',
    ws,
    onMessage: () => {},
    send(flowId, text) {
      if (!needsCredit(flowId)) return write(text);
      const state = flow(flowId);
      if (state.balance === 0) state.waiting.push(text);
      else {
        state.balance--;
        write(text);
      }
    },
    isBlocked: (flowId) => needsCredit(flowId) && flow(flowId).balance === 0,
    onCredit: () => {},
    bind: (address) => request({ type: 'AddressBind', address, physicalPath: node.path }).then(() => {}),
    close: () => ws.close(1000),
  };
  const request = (frame: object): Promise<Record<string, string>> => {
    const corrId = randomBytes(8).toString('hex');
    const { promise, resolve } = Promise.withResolvers<Record<string, string>>();
    acks.set(corrId, resolve);
    const replyTo = node.path === '' ? {} : { replyTo: `__sys__@${node.path}`, rtype: 1 };
    write(
      JSON.stringify({
        version: '1.0',
        id: corrId,
        ...replyTo,
        corrId,
        flowId: `c-${id}`,
        seqId: 0,
        flowFlags: 0,
        frame,
      }),
    );
    return promise;
  };
  ws.on('message', (data: Buffer) => {
    const text = data.toString('utf8');
    const envelope = JSON.parse(text);
    const { type } = envelope.frame;
    if (type === 'CreditUpdate') return addCredit(envelope.frame.flowId);
    if (envelope.frame.payload?.creditFor) return addCredit(envelope.frame.payload.creditFor);
    const { flowId } = envelope;
    if (options.returnsCredit !== false && flowId && needsCredit(flowId)) {
      const state = flow(flowId);
      if (++state.received >= 24) {
        state.received = 0;
        write(
          usesCredit
            ? `{"version":"1.0","id":"k${id}","flowId":"${flowId}","seqId":0,"flowFlags":2,"frame":{"type":"CreditUpdate","flowId":"${flowId}","credits":32}}`
            : `{"version":"1.0","id":"k${id}","to":"${envelope.replyTo}","flowId":"c-${id}","seqId":0,"flowFlags":0,"frame":{"type":"Data","payload":{"creditFor":"${flowId}"}}}`,
        );
      }
    }
    const ack = acks.get(envelope.corrId);
    if (ack) {
      acks.delete(envelope.corrId);
      ack(envelope.frame);
    } else node.onMessage(envelope, text);
  });
  await new Promise<void>((resolve, reject) => {
    ws.once('open', () => resolve());
    ws.once('error', reject);
  });
  const ack = await request({
    type: 'NodeAttach',
    originType: 'downstream',
    systemId: id,
    instanceId: randomBytes(8).toString('hex'),
    acceptedLogicals: ['fame.fabric'],
  });
  if (!ack.assignedPath) throw new Error(`The router at ${url} refused the attach: ${JSON.stringify(ack)}`);
  (node as { path: string }).path = ack.assignedPath;
  usesCredit = !(ack.software ?? '').startsWith('bench-relay/');
  const beat = setInterval(() => {
    if (usesCredit)
      write(
        `{"version":"1.0","id":"h","corrId":"h${id}","flowId":"c-${id}","seqId":0,"flowFlags":0,"frame":{"type":"NodeHeartbeat"}}`,
      );
  }, 15_000);
  beat.unref();
  ws.on('close', () => clearInterval(beat));
  return node;
}

/** Length of the texts in a payload: a paragraph, or one chunk of an agent's answer. */
const TEXT_BYTES = 240;
const PART = ['{"type":"text","text":"', '"}'] as const;
const PART_BYTES = PART[0].length + PART[1].length;

/**
 * Creates a JSON-RPC payload of exactly `size` bytes, split at its id: an A2A message whose parts have texts of `textBytes`.
 * The last text has the remaining length.
 */
export function payloadAround(
  size: number,
  method: string,
  textBytes = TEXT_BYTES,
): { head: string; tail: string } {
  const head = '{"jsonrpc":"2.0","id":"';
  const before = `","method":"${method}","params":{"id":"task-0123456789abcdef","message":{"role":"user","parts":[`;
  const after = ']}}}';
  const words = 'the quick brown fox jumps over the lazy dog and runs on through the wood ';
  const text = words.repeat(Math.ceil(Math.max(textBytes, size) / words.length));
  const partOf = (bytes: number): string => PART.join(text.slice(0, bytes));
  let room = size - head.length - 16 - before.length - after.length;
  const parts: string[] = [];
  for (; room > textBytes + 2 * PART_BYTES + 1; room -= textBytes + PART_BYTES + 1)
    parts.push(partOf(textBytes));
  parts.push(partOf(Math.max(0, room - PART_BYTES)));
  return { head, tail: before + parts.join(',') + after };
}
