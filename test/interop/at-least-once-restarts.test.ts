// At-least-once delivery with nodes of the peer while connections break and processes die: acknowledgements and replies that
// are lost, and agents that restart with pending calls. Each message is handled once.
import { join } from 'node:path';
import { type Gate, gate } from '@fame-fabric/agents/testing';
import { Link, newId } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { type Proc, ROOT, startNode } from '../kit/processes.ts';
import {
  admissionUrl,
  listNodes,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';
import { CHAT, startAgent, startModel, stopStack } from '../kit/stack.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';

const env = { FAME_DELIVERY_PROFILE: 'at-least-once' };
const DURABLE_AGENT = join(ROOT, 'test/kit/durable-agent.ts');
let sentinel: OurSentinel;

beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '20000' } });
});
afterAll(stopStack);

test('acknowledgements and replies are lost with our connection: our link sends again and gets one reply', async () => {
  const address = 'lossy@fame.fabric';
  const agent = await startPeerAgent('math', { url: sentinel.url, address, env });
  const proxy = await TcpProxy.to(sentinel.port);
  const sent: string[] = [];
  const sentTwice = Promise.withResolvers<void>();
  const ours = new Link({
    url: admissionUrl(proxy.port),
    dial: wsDial,
    deliveryProfile: 'at-least-once',
    trace(direction, { frame, id }) {
      if (direction !== 'sent' || frame.type !== 'Data') return;
      if (sent.includes(id)) sentTwice.resolve();
      sent.push(id);
    },
  });
  await ours.connect();
  // Neither the acknowledgement of the request nor the reply arrives.
  proxy.hold('down');
  const answers: unknown[] = [];
  const call = ours.call(address, 'slow', { args: [10] }).then((answer) => answers.push(answer));
  await agent.waitFor(/"event":"slow-started"/);
  await sentTwice.promise;
  // Frames that were held back are lost with the connection.
  expect(proxy.cut()).toBe(1);
  proxy.release('down');
  await call;
  expect(answers).toEqual(['after 10 ms']);
  expect(new Set(sent).size).toBe(1);
  // The agent of the peer finally gets our acknowledgement, and keeps serving.
  expect(await ours.call(address, 'add', { args: [3, 4] })).toBe(7);
  await ours.close();
  await proxy.close();
});

/** Starts a chat agent whose first model call waits at `held` if given, and a client of the peer with a conversation. */
async function startChat(held?: Gate, agentUrl = sentinel.url, peerUrl = sentinel.url) {
  let requests = 0;
  const model = await startModel({
    respond: () => {
      requests += 1;
      return held && requests === 1 ? ['The first ', held] : 'The whole answer';
    },
  });
  const options = { model, dataDir: temporaryDirectory(), env };
  const agent = await startAgent(agentUrl, options);
  const peer = await PeerClient.start({ url: peerUrl, env });
  const id = newId();
  await peer.do('startTask', { address: CHAT, id, payload: {} });
  return {
    agent,
    peer,
    id,
    restart: (url = sentinel.url) => startAgent(url, options),
    requests: () => requests,
    history: () => peer.call(CHAT, 'get_history', id),
  };
}

const ONE_TURN = [
  { role: 'user', content: 'hello' },
  { role: 'assistant', content: 'The whole answer' },
];

test('our agent is killed during an acknowledged turn: the next process answers the client of the peer', async () => {
  const held = gate();
  const { agent, peer, id, restart, requests, history } = await startChat(held);
  const answer = peer.call(CHAT, 'run_turn', id, 'hello');
  await held.reached;
  await agent.kill();
  const next = await restart();
  expect(await answer).toBe('The whole answer');
  expect(await history()).toEqual(ONE_TURN);
  expect(requests()).toBe(2);
  await peer.stop();
  await next.stop();
});

test('our agent is killed before it accepts a turn: the peer sends again, and the turn runs once', async () => {
  const [agentProxy, peerProxy] = await Promise.all([TcpProxy.to(sentinel.port), TcpProxy.to(sentinel.port)]);
  const urls = [admissionUrl(agentProxy.port), admissionUrl(peerProxy.port)] as const;
  const { agent, peer, id, restart, requests, history } = await startChat(undefined, ...urls);
  // The proxy holds the acknowledgement and the WhoIs request. The agent accepts a turn only after the answer to WhoIs.
  agentProxy.hold('up');
  const answer = peer.call(CHAT, 'run_turn', id, 'hello');
  await expect.poll(async () => (await listNodes(sentinel)).some(({ serving }) => serving === 1)).toBe(true);
  // Hold the peer's retransmissions until there is a receiver.
  peerProxy.hold('up');
  await agent.kill();
  const next = await restart();
  peerProxy.release('up');
  expect(await answer).toBe('The whole answer');
  expect(await history()).toEqual(ONE_TURN);
  expect(requests()).toBe(1);
  await peer.stop();
  await next.stop();
  await agentProxy.close();
  await peerProxy.close();
});

test('our agent is killed while its acknowledgement is on its way: the peer sends again, and the turn runs once', async () => {
  const held = gate();
  const peerProxy = await TcpProxy.to(sentinel.port);
  const { agent, peer, id, restart, requests, history } = await startChat(
    held,
    sentinel.url,
    admissionUrl(peerProxy.port),
  );
  peerProxy.hold('down');
  const answer = peer.call(CHAT, 'run_turn', id, 'hello');
  await held.reached;
  // Hold the peer's retransmissions until there is a receiver.
  peerProxy.hold('up');
  await agent.kill();
  const next = await restart();
  await expect.poll(() => peerProxy.held('up').length).toBeGreaterThan(0);
  peerProxy.release('up');
  peerProxy.release('down');
  expect(await answer).toBe('The whole answer');
  expect(await history()).toEqual(ONE_TURN);
  expect(requests()).toBe(2);
  await peer.stop();
  await next.stop();
  await peerProxy.close();
});

test('our agent is killed during an acknowledged durable operation: the next process runs it and answers the peer', async () => {
  const dataDir = temporaryDirectory();
  const start = (): Proc =>
    startNode(['--conditions=fame-source', '--disable-warning=ExperimentalWarning', DURABLE_AGENT], {
      env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: dataDir },
    });
  const agent = start();
  await agent.waitFor(/is served through/);
  const peer = await PeerClient.start({ url: sentinel.url, env });
  const answer = peer.call('durable@fame.fabric', 'work', { n: 7 });
  await agent.waitFor(/run 1 of 7/);
  await agent.kill();
  const next = start();
  expect(await answer).toEqual({ n: 7, attempt: 2, runs: 2 });
  expect(next.output.match(/run \d of 7/g)).toEqual(['run 2 of 7']);
  await peer.stop();
  await next.stop();
});

test('an agent of the peer dies before it has acknowledged: the next process answers our link once', async () => {
  const address = 'pending@fame.fabric';
  const options = { url: sentinel.url, address, salt: 'pending', env };
  const agent = await startPeerAgent('math', options);
  const proxy = await TcpProxy.to(sentinel.port);
  const ours = new Link({ url: admissionUrl(proxy.port), dial: wsDial, deliveryProfile: 'at-least-once' });
  await ours.connect();
  // Freeze the agent: the request reaches its socket, and it sends nothing back.
  agent.child.kill('SIGSTOP');
  const answers: unknown[] = [];
  const call = ours.call(address, 'slow', { args: [100] }).then((answer) => answers.push(answer));
  await expect.poll(async () => (await listNodes(sentinel)).some(({ serving }) => serving === 1)).toBe(true);
  // Hold our retransmissions until there is a receiver.
  proxy.hold('up');
  await agent.kill();
  const next = await startPeerAgent('math', options);
  proxy.release('up');
  await call;
  expect(answers).toEqual(['after 100 ms']);
  expect(next.output).toContain('slow-started');
  await ours.close();
  await proxy.close();
});
