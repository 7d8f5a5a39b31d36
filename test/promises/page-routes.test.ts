// The routes behind the console at the wire: the stream of changes of the nodes, the actions of an administrator, the doctor, and the files
// of the page.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rotateLocalKey } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cookieOf, type PageRequest, send } from '../kit/page-requests.ts';
import { type Json, RawNodes } from '../kit/raw-node.ts';
import {
  fetchWithKey,
  findNode,
  keyHeader,
  localKey,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';

const NODES = '/fame/v1/nodes';

let sentinel: OurSentinel;
let audit: string;
const nodes = new RawNodes(() => sentinel.url);
const ask = (path: string, options: PageRequest = {}) => send(sentinel.port, path, options);
const act = (action: 'disconnect' | 'drain', path: unknown, headers = keyHeader(sentinel.dataDir)) =>
  ask(`${NODES}/${action}`, { method: 'POST', headers, body: { path } });

beforeAll(async () => {
  audit = join(temporaryDirectory(), 'audit');
  sentinel = await startOurSentinel({ env: { FAME_AUDIT_LOG: audit } });
});
afterAll(async () => {
  await nodes.closeAll();
  await sentinel.proc.stop();
});

/** Follows the nodes; `next` returns the next line. */
async function follow(of = sentinel): Promise<{ next(): Promise<Json>; cancel(): Promise<void> }> {
  const answer = await fetchWithKey(of, `${NODES}?follow=true`);
  expect(answer.headers.get('content-type')).toBe('application/x-ndjson');
  const pieces = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  return {
    async next() {
      for (;;) {
        const end = rest.indexOf('\n');
        if (end >= 0) {
          const line = rest.slice(0, end);
          rest = rest.slice(end + 1);
          if (line !== '') return JSON.parse(line);
          continue;
        }
        const { done, value } = await pieces.read();
        if (done) return undefined;
        rest += value;
      }
    },
    cancel: () => pieces.cancel(),
  };
}

test('a page follows the nodes: all of them first, then those that change', async () => {
  const stream = await follow();
  expect(await stream.next()).toMatchObject({ type: 'snapshot', sentinel: { id: expect.any(String) } });
  const node = await nodes.attached();
  await node.bind('followed@fame.fabric');
  let line: Json;
  do line = await stream.next();
  while (line.nodes[0]?.addresses.length === 0);
  expect(line).toMatchObject({
    type: 'changes',
    t: expect.any(Number),
    gone: [],
    nodes: [{ path: node.path, addresses: ['followed@fame.fabric'], isDraining: false }],
  });
  await node.close();
  expect(await stream.next()).toMatchObject({ type: 'changes', gone: [node.path] });
  await stream.cancel();
});

test('the stream ends within 5 s of a rotation of its key', async () => {
  const other = await startOurSentinel();
  const stream = await follow(other);
  await stream.next();
  const began = performance.now();
  rotateLocalKey(other.dataDir);
  expect(await stream.next()).toBeUndefined();
  expect(performance.now() - began).toBeLessThan(5_000);
  await other.proc.stop();
});

test('streams are bounded in number', async () => {
  const streams = await Promise.all(Array.from({ length: 32 }, () => follow()));
  const answer = await fetchWithKey(sentinel, `${NODES}?follow=true`);
  expect([answer.status, ((await answer.json()) as Json).error.code]).toEqual([429, 'QUOTA_EXCEEDED']);
  await streams[0]!.cancel();
  await expect
    .poll(async () => {
      const again = await fetchWithKey(sentinel, `${NODES}?follow=true`);
      await again.body?.cancel();
      return again.status;
    })
    .toBe(200);
  for (const stream of streams.slice(1)) await stream.cancel();
});

describe('an administrator', () => {
  test('disconnects a node, which may attach again', async () => {
    const node = await nodes.attached({ systemId: 'kicked' });
    expect(await act('disconnect', node.path)).toMatchObject({ status: 202, body: { path: node.path } });
    expect(await node.closed).toMatchObject({ code: 1012, reason: expect.stringContaining('administrator') });
    expect(await findNode(sentinel, node)).toBeUndefined();
    expect((await nodes.attached({ systemId: 'kicked' })).ack.frame.ok).toBe(true);
  });

  test('drains a node: it stays, finishes its calls, and gets no new ones', async () => {
    const [agent, caller] = [await nodes.attached(), await nodes.attached()];
    await agent.bind('drained@fame.fabric');
    const open = caller.call('drained@fame.fabric', 'work', {});
    const request = await agent.next(({ frame }) => frame.payload?.method === 'work');
    expect(await act('drain', agent.path)).toMatchObject({ status: 202, body: { isDraining: true } });
    const refused = await caller.call('drained@fame.fabric', 'work', {});
    expect(refused.frame).toMatchObject({ code: 'NODE_BUSY', reason: expect.stringContaining('drained') });
    agent.send({
      to: request.replyTo,
      corrId: request.corrId,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: request.corrId, result: 'done' } },
    });
    expect((await open).frame.payload.result).toBe('done');
    expect(await findNode(sentinel, agent)).toMatchObject({ isDraining: true, state: 'attached' });
  });

  test('is in the audit log, with the node', async () => {
    const node = await nodes.attached();
    await act('disconnect', node.path);
    await expect
      .poll(() =>
        readFileSync(audit, 'utf8')
          .split('\n')
          .filter((line) => line.includes('"Disconnect"'))
          .at(-1),
      )
      .toContain(node.path);
    expect(readFileSync(audit, 'utf8')).not.toContain(localKey(sentinel.dataDir));
  });

  test.each(['disconnect', 'drain'] as const)(
    '%s of a path without a node, and of no path',
    async (action) => {
      expect(await act(action, '/nowhere')).toMatchObject({
        status: 404,
        body: { error: { code: 'NO_ROUTE' } },
      });
      for (const path of [undefined, '', 'x', 7, ['/x']]) {
        expect(await act(action, path)).toMatchObject({
          status: 400,
          body: { error: { code: 'REQUEST_INVALID' } },
        });
      }
      expect((await act(action, `/${'x'.repeat(6_000)}`)).status).toBe(413);
    },
  );

  test.each(['disconnect', 'drain'] as const)('%s needs a key, or the session of a page', async (action) => {
    const node = await nodes.attached();
    const origin = { origin: sentinel.http };
    const body = { key: localKey(sentinel.dataDir), remember: true };
    const cookie = cookieOf(await ask('/fame/v1/session', { method: 'POST', headers: origin, body }));
    for (const headers of [
      {},
      { cookie },
      { cookie, origin: 'http://localhost:5173' },
      { cookie, origin: 'null' },
      { authorization: 'Bearer fk_local_wrong' },
    ]) {
      expect([401, 403]).toContain((await act(action, node.path, headers)).status);
    }
    expect(await findNode(sentinel, node)).toMatchObject({ state: 'attached', isDraining: false });
    expect((await act(action, node.path, { cookie, ...origin })).status).toBe(202);
  });
});

test('the doctor reports the state of the sentinel, and a chat agent that is missing', async () => {
  const answer = await fetchWithKey(sentinel, '/fame/v1/doctor');
  const { checks } = (await answer.json()) as Json;
  expect(checks).toContainEqual({
    name: 'chat agent',
    status: 'warning',
    message: 'No node serves chat@fame.fabric.',
    fix: expect.stringContaining('npx fame-fabric agent'),
  });
  expect(checks.map(({ name }: Json) => name)).toEqual(
    expect.arrayContaining(['readiness', 'credentials', 'sessions', 'queues', 'memory']),
  );
  expect((await ask('/fame/v1/doctor')).status).toBe(401);
});

describe('the files of the page', () => {
  test('run no script or style of their text, and are shown in no frame', async () => {
    const { status, headers, text } = await ask('/console/');
    expect(status).toBe(200);
    expect(headers['content-security-policy']).toBe(
      "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    );
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-cache',
      'cross-origin-opener-policy': 'same-origin',
    });
    expect(text).not.toMatch(/<style|<script(?![^>]* src=)| on\w+=|style=/i);
    expect((await ask('/console')).headers.location).toBe('/console/');
    expect((await ask('/')).text).toContain('href="console/"');
  });

  test('are compressed, cached by their hash, and found by their exact path', async () => {
    const { text } = await ask('/console/');
    const [, script] = /src="([^"]+\.js)"/.exec(text)!;
    const path = new URL(script!, `${sentinel.http}/console/`).pathname;
    const plain = await ask(path);
    expect(plain.headers['cache-control']).toContain('immutable');
    const zipped = await fetch(`${sentinel.http}${path}`, { headers: { 'accept-encoding': 'gzip' } });
    expect(zipped.headers.get('content-encoding')).toBe('gzip');
    expect(await zipped.text()).toBe(plain.text);
    const again = await ask('/console/', {
      headers: { 'if-none-match': String((await ask('/console/')).headers.etag) },
    });
    expect([again.status, again.text]).toEqual([304, '']);
  });

  test.each([
    '/console/../package.json',
    '/console/%2e%2e/%2e%2e/package.json',
    '/console/..%2f..%2fpackage.json',
    '/console/assets/../../../package.json',
    '/console/assets',
    '/console/licenses.md/..',
    '/console//etc/passwd',
    '/console/%00',
    '/console/index.html/',
  ])('%s is not one of them', async (path) => {
    const { status, text } = await ask(path);
    expect(status).toBe(404);
    expect(text).not.toContain('"dependencies"');
  });

  test('are not served to a page behind a foreign name, and take no other method', async () => {
    expect((await ask('/console/', { headers: { host: 'evil.example:8000' } })).status).toBe(403);
    expect((await ask('/console/', { method: 'POST', body: {} })).status).toBe(404);
  });

  test('FAME_DOORS switches them off, and then there are no sign-in links', async () => {
    const other = await startOurSentinel({ env: { FAME_DOORS: 'http' } });
    expect((await send(other.port, '/console/')).status).toBe(404);
    const headers = keyHeader(other.dataDir);
    expect(await send(other.port, '/fame/v1/sign-in-links', { method: 'POST', headers })).toMatchObject({
      status: 501,
      body: { error: { code: 'OPERATION_UNSUPPORTED', message: expect.stringContaining('FAME_DOORS') } },
    });
    expect((await send(other.port, '/')).text).not.toContain('console/');
    await other.proc.stop();
  });
});
