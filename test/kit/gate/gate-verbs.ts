// The verbs of the gate matrix. Each one acts on a target, and resolves with the outcome and the text of the answer.

import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { id, type Json, type RawNode } from '../raw-node.ts';
import type { Credential } from './gate-credentials.ts';
import { CHAT, type GateFabric, type Software, WORK } from './gate-fabric.ts';
import type { Target } from './gate-targets.ts';

/** An attached node with its credential. */
interface Actor {
  readonly node: RawNode;
  readonly credential: Credential;
  readonly fabric: GateFabric;
  readonly software: Software;
}

export interface Answer {
  /** `allowed`, `silence`, or the code of the refusal. */
  readonly outcome: string;
  /** The refusal, or nothing. */
  readonly refusal?: unknown;
}

export type Act = (actor: Actor, target: Target) => Promise<Answer>;

const ALLOWED: Answer = { outcome: 'allowed' };
const SILENCE: Answer = { outcome: 'silence' };
const message = { role: 'user', parts: [{ type: 'text', text: 'go' }] };

/** The answer in any message that answers a request. */
function answerOf({ frame }: Json): Answer {
  const { ok, code, reason, payload } = frame;
  if (payload?.error !== undefined) {
    const { data, ...error } = payload.error;
    return { outcome: String(data?.code ?? error.code), refusal: { ...error, data } };
  }
  return ok === false ? { outcome: code, refusal: { code, reason } } : ALLOWED;
}

/** Sends a request to the sentinel and reads its ack. */
const control = async ({ node }: Actor, frame: Json): Promise<Answer> => answerOf(await node.request(frame));

/** Sends a message, and reads the refusal, or `silence` if the ack of a later heartbeat comes first. */
async function send({ node }: Actor, envelope: Json): Promise<Answer> {
  const sent = node.send({ corrId: id(), ...envelope });
  await node.heartbeat();
  const at = node.inbox.findIndex(({ corrId, frame }) => corrId === sent.corrId || frame?.refId === sent.id);
  return at < 0 ? SILENCE : answerOf(node.inbox.splice(at, 1)[0]);
}

const call = async (
  { node }: Actor,
  to: string | undefined,
  method: string,
  params: Json,
  header: Json = {},
) => answerOf(await node.call(to, method, params, header));

/** Opens a stream, reads its first item, and cancels it. */
async function stream({ node }: Actor, to: string, method: string, params: Json): Promise<Answer> {
  const sent = node.sendCall(to, method, params, { rtype: 4 });
  const first = await node.next(({ corrId }) => corrId === sent.corrId);
  node.send({ replyTo: sent.replyTo, frame: { type: 'CallCancel', corrId: sent.corrId } });
  return answerOf(first);
}

const chat =
  (method: string, params: (target: Target) => Json): Act =>
  (actor, target) =>
    call(actor, CHAT, method, params(target));
const task =
  (method: string, more: Json = {}): Act =>
  (actor, target) =>
    call(actor, WORK, method, { id: target.task, ...more });
const ofConversation = ({ conversation }: Target, more: Json = {}): Json => ({
  conversation_id: conversation,
  ...more,
});

/** Requests a page of the sentinel. */
function page(
  fabric: GateFabric,
  { token, certificate }: Credential,
  path: string,
  method = 'GET',
  body?: Json,
) {
  return new Promise<Answer>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: fabric.sentinel.port,
      path,
      method,
      ca: readFileSync(fabric.credentials.authority.file),
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }),
    };
    const asked = request(options, (response) => {
      if (response.statusCode! < 300) {
        // A trace has no end.
        response.destroy();
        resolve(ALLOWED);
        return;
      }
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => {
        const { error } = JSON.parse(text);
        resolve({ outcome: error.code, refusal: { status: response.statusCode, error } });
      });
    });
    asked.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET') reject(error);
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Attaches a second node with the credential, and closes it. `isTaken` tells the outcome from the ack. */
async function attachAgain(
  { fabric, credential, software }: Actor,
  more: Json,
  isTaken: (ack: Json) => boolean,
): Promise<Answer> {
  const node = await fabric.open(credential, { software, ...more });
  let answer: Answer;
  try {
    const { frame } = await node.attach();
    answer = isTaken(frame) ? ALLOWED : { outcome: 'own session' };
  } catch {
    const { code, reason } = node.ack.frame;
    answer = { outcome: code, refusal: { code, reason } };
  }
  await node.close();
  return answer;
}

export const VERBS: Readonly<Record<string, Act>> = {
  bind: async (actor, { address: taken }) => {
    const address = `new-${taken}`;
    const answer = await control(actor, { type: 'AddressBind', address });
    if (answer.outcome === 'allowed') await control(actor, { type: 'AddressUnbind', address });
    return answer;
  },
  'bind over': async (actor, { address }) => {
    const answer = await control(actor, { type: 'AddressBind', address });
    if (answer.outcome === 'allowed') await control(actor, { type: 'AddressUnbind', address });
    return answer;
  },
  'bind over a held address': async (actor, { held }) => {
    const answer = await control(actor, { type: 'AddressBind', address: held });
    if (answer.outcome === 'allowed') await control(actor, { type: 'AddressUnbind', address: held });
    return answer;
  },
  'bind at a path': (actor, { path }) => control(actor, { type: 'AddressBind', address: `__rpc__x@${path}` }),
  unbind: (actor, { address }) => control(actor, { type: 'AddressUnbind', address }),
  advertise: (actor, { address }) =>
    control(actor, { type: 'CapabilityAdvertise', address, capabilities: ['stolen'] }),
  withdraw: (actor, { address, capability }) =>
    control(actor, { type: 'CapabilityWithdraw', address, capabilities: [capability] }),
  call: (actor, { address }) => call(actor, address, 'any', {}),
  'call by path': (actor, { path }) => call(actor, `vault@${path}`, 'any', {}),
  'call the system mailbox': (actor, { path }) => call(actor, `__sys__@${path}`, 'any', {}),
  'call by capability': (actor, { capability }) =>
    call(actor, undefined, 'any', {}, { capabilities: [capability] }),
  stream: (actor, { address }) => stream(actor, address, 'any', {}),
  message: (actor, { address }) =>
    send(actor, { to: address, corrId: id(), frame: { type: 'Data', payload: { text: 'hi' } } }),
  'open a secure channel': (actor, { address }) =>
    send(actor, {
      to: address,
      corrId: id(),
      replyTo: actor.node.replyTo(),
      frame: { type: 'SecureOpen', cid: 'x', ephPub: 'x', alg: 'y' },
    }),
  'forged reply': (actor, { replyTo, corrId }) =>
    send(actor, {
      to: replyTo,
      corrId,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, result: 'forged' } },
    }),
  'forged NACK': (actor, { replyTo, corrId }) =>
    send(actor, {
      to: replyTo,
      corrId,
      frame: { type: 'DeliveryAck', ok: false, refId: id(), code: 'NODE_GONE', reason: 'forged' },
    }),
  'cancel of a call': (actor, { replyTo, corrId }) =>
    send(actor, { replyTo, frame: { type: 'CallCancel', corrId } }),
  credit: (actor, { flowId }) => send(actor, { frame: { type: 'CreditUpdate', flowId, credits: 1_000 } }),
  WhoIs: (actor, { replyTo, corrId }) => control(actor, { type: 'WhoIs', address: replyTo, corrId }),
  'forged replyTo': (actor, { replyTo }) => call(actor, CHAT, 'list_conversations', {}, { replyTo }),
  'replyTo below the own path': (actor) =>
    call(actor, CHAT, 'start_task', {}, { replyTo: `__rpc__x@${actor.node.path}/below` }),
  'take over a session': (actor, { systemId, instanceId, resumeToken }) =>
    attachAgain(actor, { systemId, instanceId, attach: { resumeToken } }, ({ resumed }) => resumed === true),
  'renew with the token of another': (actor) =>
    control(actor, {
      type: 'NodeAttach',
      originType: 'downstream',
      systemId: actor.node.systemId,
      instanceId: actor.node.instanceId,
      authorization: actor.fabric.credentials.house.token,
    }),
  'attach as a peer': (actor, { peerId }) =>
    attachAgain(actor, { kind: 'peer', systemId: peerId, attach: { originType: 'peer' } }, () => true),

  run_turn: chat('run_turn', (target) => ofConversation(target, { user_message: 'Hi' })),
  'run_turn again': chat('run_turn', (target) =>
    ofConversation(target, { user_message: 'secret', turn_id: target.turn }),
  ),
  run_turn_stream: (actor, target) =>
    stream(actor, CHAT, 'run_turn_stream', ofConversation(target, { user_message: 'Hi' })),
  get_history: chat('get_history', (target) => ofConversation(target)),
  get_turn: chat('get_turn', (target) => ofConversation(target, { turn_id: target.turn })),
  get_prompt: chat('get_prompt', (target) => ofConversation(target, { turn_id: target.turn, step: 1 })),
  read_events: chat('read_events', (target) => ofConversation(target)),
  'read_events, followed': (actor, target) =>
    stream(actor, CHAT, 'read_events', ofConversation(target, { follow: true })),
  fork: chat('fork', (target) => ofConversation(target, { at: target.turn, id: id() })),
  answer_approval: chat('answer_approval', (target) =>
    ofConversation(target, { call_id: 'x', approve: true }),
  ),
  'tasks/get of a conversation': chat('tasks/get', ({ conversation }) => ({ id: conversation })),
  'tasks/resubscribe of a conversation': (actor, { conversation }) =>
    stream(actor, CHAT, 'tasks/resubscribe', { id: conversation }),
  'name its owner': async (actor, { conversation }) => {
    const answer = await actor.node.call(CHAT, 'list_conversations', { limit: 200 });
    const { result } = answer.frame.payload;
    if (result === undefined) return answerOf(answer);
    const isListed = result.conversations.some((one: Json) => one.id === conversation && one.turns !== 0);
    return isListed ? ALLOWED : { outcome: 'not listed' };
  },
  cancel_turn: chat('cancel_turn', (target) => ofConversation(target)),
  end_conversation: chat('end_conversation', (target) => ofConversation(target)),
  'tasks/cancel of a conversation': chat('tasks/cancel', ({ conversation }) => ({ id: conversation })),

  'tasks/get': task('tasks/get'),
  'tasks/resubscribe': (actor, target) => stream(actor, WORK, 'tasks/resubscribe', { id: target.task }),
  'push configuration, set': task('tasks/pushNotification/set', {
    pushNotificationConfig: { url: 'https://receiver.example/push' },
  }),
  'push configuration, get': task('tasks/pushNotification/get'),
  'push configurations, list': task('tasks/pushNotification/list'),
  'push configuration, delete': task('tasks/pushNotification/delete'),
  'tasks/list': async (actor, target) => {
    const answer = await actor.node.call(WORK, 'tasks/list', {});
    const { result } = answer.frame.payload;
    if (result === undefined) return answerOf(answer);
    return result.tasks.some((one: Json) => one.id === target.task) ? ALLOWED : { outcome: 'not listed' };
  },
  'tasks/cancel': task('tasks/cancel'),

  'start_task with its id': chat('start_task', ({ conversation }) => ({ id: conversation })),
  'tasks/send with its id': task('tasks/send', { message }),
  nodes: ({ fabric, credential }) => page(fabric, credential, '/fame/v1/nodes'),
  trace: ({ fabric, credential }) => page(fabric, credential, '/fame/v1/trace'),
  metrics: ({ fabric, credential }) => page(fabric, credential, '/metrics'),
  'nodes, followed': ({ fabric, credential }) => page(fabric, credential, '/fame/v1/nodes?follow=true'),
  history: ({ fabric, credential }) => page(fabric, credential, '/fame/v1/history'),
  doctor: ({ fabric, credential }) => page(fabric, credential, '/fame/v1/doctor'),
  session: ({ fabric, credential }) => page(fabric, credential, '/fame/v1/session'),
  'sign-in link': ({ fabric, credential }) => page(fabric, credential, '/fame/v1/sign-in-links', 'POST'),
  // No node has a path below that of another node, so the targets stay.
  'disconnect a node': ({ fabric, credential }, { path }) =>
    page(fabric, credential, '/fame/v1/nodes/disconnect', 'POST', { path: `${path}/below` }),
  'drain a node': ({ fabric, credential }, { path }) =>
    page(fabric, credential, '/fame/v1/nodes/drain', 'POST', { path: `${path}/below` }),
  'attach over HTTP': ({ fabric, credential }, { systemId }) =>
    page(fabric, credential, `/fame/v1/ingress/downstream/${systemId}`, 'POST'),
};
