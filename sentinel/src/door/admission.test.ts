// Attaches whose credential is verified by a promise: they wait with the bounds of every connection that has not attached.
import { makeEnvelope, type NodeAttachAck } from '@fame-fabric/shared';
import { FabricError } from '@fame-fabric/shared/router';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { Access, type Authentication, type MaybePending } from '../access/access.ts';
import { FakeTransport } from '../testing/fake-transport.ts';
import { makeTestParts } from '../testing/sentinel-parts.ts';

const ADA: Authentication = { ok: true, principal: { id: 'ada', roles: ['client'] } };
const REFUSED: Authentication = { ok: false, fault: new FabricError('AUTH_INVALID', 'wrong key') };

function withDoor() {
  const parts = makeTestParts();
  const open = (systemId: string, authentication: MaybePending): FakeTransport => {
    const transport = new FakeTransport();
    parts.admission.open(transport, { origin: 'downstream', systemId, authentication });
    return transport;
  };
  const attach = (transport: FakeTransport, systemId: string): void =>
    transport.receive(
      makeEnvelope(
        { type: 'NodeAttach', originType: 'downstream', systemId, instanceId: systemId },
        { corrId: 'attach' },
      ),
    );
  return { ...parts, open, attach };
}

const pending = () => Promise.withResolvers<Authentication>();

describe('a credential that is being verified', () => {
  test('the NodeAttach waits for the verification, and is copied', async () => {
    const { open, attach, table } = withDoor();
    const { promise, resolve } = pending();
    const transport = open('n', promise);
    const deliver = transport.onMessage!;
    transport.onMessage = (bytes) => {
      deliver(bytes);
      bytes.fill(0);
    };
    attach(transport, 'n');
    await settle();
    expect([transport.sent.length, table.size]).toEqual([0, 0]);
    resolve(ADA);
    await settle();
    expect(transport.takeFirst().frame).toMatchObject({
      ok: true,
      principal: { id: 'ada', roles: ['client'] },
    });
  });

  test('a verification that ends before the NodeAttach changes nothing', async () => {
    const { open, attach } = withDoor();
    const transport = open('n', Promise.resolve(ADA));
    await settle();
    expect(transport.sent).toEqual([]);
    attach(transport, 'n');
    expect(transport.takeFirst().frame).toMatchObject({ ok: true });
  });

  test('a refused one closes the connection with 1008 after the refusal', async () => {
    const { open, attach } = withDoor();
    const { promise, resolve } = pending();
    const transport = open('n', promise);
    attach(transport, 'n');
    resolve(REFUSED);
    await settle();
    expect(transport.takeFirst().frame).toMatchObject({ ok: false, code: 'AUTH_INVALID' });
    expect(transport.closed?.code).toBe(1008);
  });

  test('it ends after 5 s, and a late result opens no session', async () => {
    const { open, attach, clock, table } = withDoor();
    const { promise, resolve } = pending();
    const transport = open('n', promise);
    attach(transport, 'n');
    clock.advance(5_000);
    expect(transport.takeFirst().frame).toMatchObject({ ok: false, code: 'ADMIT_TIMEOUT' });
    expect(transport.closed?.code).toBe(4408);
    resolve(ADA);
    await settle();
    expect(table.size).toBe(0);
  });

  test('connections that wait count as those without a key: the oldest one makes room', () => {
    const { open } = withDoor();
    const never = pending().promise;
    const first = open('first', never);
    for (let i = 0; i < 768; i++) open(`n${i}`, never);
    expect(first.terminated).toBe(true);
  });

  test('a lost connection opens no session', async () => {
    const { open, attach, table } = withDoor();
    const { promise, resolve } = pending();
    const transport = open('n', promise);
    attach(transport, 'n');
    transport.onClose?.(1006, '');
    resolve(ADA);
    await settle();
    expect(table.size).toBe(0);
  });
});

test('a source that rejects refuses the credential, without its error', async () => {
  const access = new Access({
    sources: [
      { label: 'test', accepts: () => true, authenticate: () => Promise.reject(new Error('secret')) },
    ],
  });
  const result = await access.authenticate({ headers: { authorization: 'Bearer x' } });
  expect(result).toMatchObject({ ok: false, fault: { code: 'AUTH_INVALID' } });
  expect(!result.ok && result.fault.message).toBe('The credential could not be verified');
});

test('the first source that accepts a token decides about it', () => {
  const source = (result: Authentication) => ({
    label: 'test',
    accepts: (token: string) => token.startsWith('a'),
    authenticate: () => result,
  });
  const access = new Access({ sources: [source(REFUSED), source(ADA)] });
  expect(access.authenticate({ headers: { authorization: 'Bearer a' } })).toBe(REFUSED);
  expect(access.authenticate({ headers: { authorization: 'Bearer b' } })).toMatchObject({
    ok: false,
    fault: { code: 'AUTH_INVALID' },
  });
});

test('a sentinel that asks for credentials refuses an attach without one', () => {
  const access = new Access({ sources: [], isCredentialNeeded: true });
  const { open, attach } = withDoor();
  const transport = open('n', access.authenticate({ headers: {} }));
  attach(transport, 'n');
  expect((transport.takeFirst().frame as NodeAttachAck).code).toBe('AUTH_MISSING');
  expect(transport.closed?.code).toBe(1008);
});
