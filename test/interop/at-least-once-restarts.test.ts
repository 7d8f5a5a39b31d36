// At-least-once delivery with nodes of the peer, while connections break and processes die: an acknowledgement or an answer
// that is really lost, and an agent that is started again with work pending. Ours handles each thing once.
import { type Gate, gate } from '@fame-fabric/agents/testing';
import { Link, newId } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
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
let sentinel: OurSentinel;

beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '20000' } });
});
afterAll(stopStack);

test('acknowledgements and answers for us are lost with our connection: we send again, and get one answer', async () => {
  const address = 'lossy@fame.fabric';
  const agent = await startPeerAgent('math', { url: sentinel.url, address, env });
  const proxy = await TcpProxy.to(sentinel.port);
  const sent: string[] = [];
  const askedTwice = Promise.withResolvers<void>();
  const ours = new Link({
    url: admissionUrl(proxy.port),
    dial: wsDial,
    deliveryProfile: 'at-least-once',
    trace(direction, { frame, id }) {
      if (direction !== 'sent' || frame.type !== 'Data') return;
      if (sent.includes(id)) askedTwice.resolve();
      sent.push(id);
    },
  });
  await ours.connect();
  // Nothing comes back: neither the acknowledgement of the request nor the answer.
  proxy.hold('down');
  const answers: unknown[] = [];
  const call = ours.call(address, 'slow', { args: [10] }).then((answer) => answers.push(answer));
  await agent.waitFor(/"event":"slow-started"/);
  await askedTwice.promise;
  // Frames that were held back are lost with the connection.
  expect(proxy.cut()).toBe(1);
  proxy.release('down');
  await call;
  expect(answers).toEqual(['after 10 ms']);
  expect(new Set(sent).size).toBe(1);
  // The agent of the peer has our acknowledgement in the end, and serves on.
  expect(await ours.call(address, 'add', { args: [3, 4] })).toBe(7);
  await ours.close();
  await proxy.close();
});

/** A chat agent whose first model call stands still at `standing`, and a client of the peer that talks to it. */
async function chatOf(standing: Gate, agentUrl = sentinel.url, peerUrl = sentinel.url) {
  let requests = 0;
  const model = await startModel({
    respond: () => {
      requests += 1;
      return requests === 1 ? ['The first ', standing] : 'The whole answer';
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
    again: (url = sentinel.url) => startAgent(url, options),
    requests: () => requests,
    history: () => peer.call(CHAT, 'get_history', id),
  };
}

const ONE_TURN = [
  { role: 'user', content: 'hello' },
  { role: 'assistant', content: 'The whole answer' },
];

test('our agent is killed in a turn that it has acknowledged: the next process answers the client of the peer', async () => {
  const standing = gate();
  const { agent, peer, id, again, requests, history } = await chatOf(standing);
  const answer = peer.call(CHAT, 'run_turn', id, 'hello');
  await standing.reached;
  await agent.kill();
  const next = await again();
  expect(await answer).toBe('The whole answer');
  expect(await history()).toEqual(ONE_TURN);
  expect(requests()).toBe(2);
  await peer.stop();
  await next.stop();
});

test('our agent is killed before its acknowledgement left: the peer sends again, and the turn runs once', async () => {
  const standing = gate();
  const [agentWay, peerWay] = await Promise.all([TcpProxy.to(sentinel.port), TcpProxy.to(sentinel.port)]);
  const urls = [admissionUrl(agentWay.port), admissionUrl(peerWay.port)] as const;
  const { agent, peer, id, again, requests, history } = await chatOf(standing, ...urls);
  agentWay.hold('up');
  const answer = peer.call(CHAT, 'run_turn', id, 'hello');
  await standing.reached;
  // The peer's repeated messages wait until a receiver is there.
  peerWay.hold('up');
  await agent.kill();
  const next = await again();
  peerWay.release('up');
  expect(await answer).toBe('The whole answer');
  expect(await history()).toEqual(ONE_TURN);
  expect(requests()).toBe(2);
  await peer.stop();
  await next.stop();
  await agentWay.close();
  await peerWay.close();
});

test('an agent of the peer dies before it has acknowledged: the next process answers us, once', async () => {
  const address = 'pending@fame.fabric';
  const options = { url: sentinel.url, address, salt: 'pending', env };
  const agent = await startPeerAgent('math', options);
  const proxy = await TcpProxy.to(sentinel.port);
  const ours = new Link({ url: admissionUrl(proxy.port), dial: wsDial, deliveryProfile: 'at-least-once' });
  await ours.connect();
  // It is frozen, so that the request reaches its socket and nothing comes back.
  agent.child.kill('SIGSTOP');
  const answers: unknown[] = [];
  const call = ours.call(address, 'slow', { args: [100] }).then((answer) => answers.push(answer));
  await expect.poll(async () => (await listNodes(sentinel)).some(({ serving }) => serving === 1)).toBe(true);
  // Our repeated messages wait until a receiver is there.
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
