// P6: many clients stream while their connections, and the agent's, are cut repeatedly, at random. Every text must arrive
// without a gap and without a repeat: the streamed text must equal the answer of the model.
import { pieces, seeded, type WireRequest } from '@fame-fabric/agents/testing';
import type { Conversation } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { admissionUrl } from '../kit/sentinel.ts';
import { CHAT, pause } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';
import { Fabric, nonceOf } from './fabric.ts';

export interface CutOptions {
  seconds: number;
  /** @default 100 */
  clients?: number;
  seed?: number;
  onTick?: (report: CutReport) => void;
}

export interface CutReport {
  clients: number;
  /** Connections of clients that were cut. */
  cuts: number;
  /** Count of cuts of the agent's connection. */
  agentCuts: number;
  turns: number;
  events: number;
  /** Requests that a client repeated because the agent was unreachable. */
  repeatedRequests: number;
  faults: string[];
}

/** Range of the lifetime of a connection, in ms. */
const LIFE_MS = { min: 200, max: 5_000 };

export async function runCutStreams(options: CutOptions): Promise<CutReport> {
  const { seconds, clients: count = 100 } = options;
  const random = seeded(options.seed ?? 1);
  const fabric = await Fabric.start({ hasClient: false, respond: slowAnswer });
  const report: CutReport = {
    clients: count,
    cuts: 0,
    agentCuts: 0,
    turns: 0,
    events: 0,
    repeatedRequests: 0,
    faults: [],
  };
  const sentinelPort = Number(new URL(fabric.url).port);
  const timers = new Set<NodeJS.Timeout>();
  let isOver = false;

  const keepCutting = (cut: () => void): void => {
    const life = LIFE_MS.min + random() * (LIFE_MS.max - LIFE_MS.min);
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (isOver) return;
      cut();
      keepCutting(cut);
    }, life);
    timers.add(timer);
  };

  const runTurns = async (conversation: Conversation): Promise<void> => {
    let lastSeq = 0;
    for (let n = 0; !isOver; n++) {
      const nonce = `${conversation.id.replace(/\W/g, 'x')}x${n}`;
      const events = [];
      try {
        const onAway = (who: 'agent' | 'sentinel'): void => {
          if (who === 'agent') report.repeatedRequests++;
        };
        for await (const event of conversation.stream(`nonce ${nonce}`, { onAway })) {
          const { seq = 0 } = event;
          if (seq <= lastSeq) report.faults.push(`${nonce}: event ${seq} after ${lastSeq}`);
          lastSeq = seq;
          events.push(event);
        }
      } catch (error) {
        report.faults.push(`${nonce}: ${String(error)}`);
        return;
      }
      report.turns++;
      report.events += events.length;
      const done = events.at(-1);
      if (done?.type !== 'done' || done.text !== textFor(nonce))
        report.faults.push(`${nonce}: the answer is wrong: ${JSON.stringify(done)}`);
      if (textOf(events) !== textFor(nonce))
        report.faults.push(`${nonce}: the streamed text is ${textOf(events)}`);
    }
  };

  const proxies = await Promise.all(Array.from({ length: count }, () => TcpProxy.to(sentinelPort)));
  const clients = await Promise.all(
    proxies.map((proxy) => connect({ url: admissionUrl(proxy.port), backoffMaxMs: 2_000 })),
  );
  // Start the conversations before the first cut: a first message to an unreachable agent fails at once.
  const conversations = clients.map((client) => client.conversation(CHAT, { maxHistoryLength: 1 }));
  await Promise.all(conversations.map((conversation) => conversation.start()));
  const running = conversations.map((conversation) => runTurns(conversation));
  for (const proxy of proxies) {
    keepCutting(() => {
      report.cuts += proxy.cut();
    });
  }
  keepCutting(() => {
    report.agentCuts += fabric.proxy.cut();
  });
  const tick = setInterval(() => options.onTick?.(report), 10_000);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  isOver = true;
  clearInterval(tick);
  for (const timer of timers) clearTimeout(timer);
  await Promise.all(running);
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(proxies.map((proxy) => proxy.close()));
  checkRequests(fabric, report);
  await fabric.stop();
  return report;
}

/** Checks that each turn called the model once, since no process died. */
function checkRequests(fabric: Fabric, report: CutReport): void {
  const asked = new Map<string, number>();
  for (const { body } of fabric.model.requests) asked.set(nonceOf(body), (asked.get(nonceOf(body)) ?? 0) + 1);
  for (const [nonce, times] of asked) {
    if (times > 1) report.faults.push(`${nonce}: the model was called ${times} times`);
  }
}

const textFor = (nonce: string): string =>
  `Für ${nonce} 🙂: ${Array.from({ length: 40 }, (_, n) => `piece ${n} — ähnlich 😀, `).join('')}done.`;

function slowAnswer(request: WireRequest) {
  return pieces(textFor(nonceOf(request)), 17).flatMap((piece) => [pause(80), piece]);
}
