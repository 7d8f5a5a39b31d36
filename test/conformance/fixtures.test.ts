// The wire format, pinned by examples: every file of `test/fixtures/wire` is decoded by `decode` and sent to a live sentinel.
// `accept` has frames that must be accepted, `reject` those that must be refused, with the code.
//
// A fixture is `{ description, message, expect }`. `message` is `{ json }`, `{ text }` or `{ base64 }`; `$PATH` is the path of
// the sending node, `$SERVER` and `$SERVERPATH` address another one, `$FILL0` is replaced by the first of `fill`, `[text,
// times]`. `expect.envelope` is part of the result of `decode`. `expect.live` is the reaction of the sentinel: `passed` on,
// `silent`, or its reply. `expect.code` is the error, `expect.close` the close code if the socket closes.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, FabricError } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../kit/processes.ts';
import type { Json, RawNode } from '../kit/raw-node.ts';
import { startWire } from '../kit/wire.ts';

interface Fixture {
  file: string;
  description: string;
  message: { json?: Json; text?: string; base64?: string; fill?: [string, number][] };
  expect: { envelope?: Json; live?: Json; code?: string; close?: number; door?: 'sentinel' };
}

const read = (kind: 'accept' | 'reject'): Fixture[] => {
  const directory = join(ROOT, 'test/fixtures/wire', kind);
  const files = readdirSync(directory).filter((file) => file.endsWith('.json'));
  return files.map((file) => ({ file, ...JSON.parse(readFileSync(join(directory, file), 'utf8')) }));
};
const ACCEPT = read('accept');
const REJECT = read('reject');

const NAMES = { $SERVERPATH: '/S/server', $SERVER: 'server@fame.fabric', $PATH: '/S/N' };

/** The bytes of a fixture, with its names replaced. */
function bytesOf({ message }: Fixture, names: Record<string, string> = NAMES): Buffer {
  if (message.base64 !== undefined) return Buffer.from(message.base64, 'base64');
  let text = message.text ?? JSON.stringify(message.json);
  for (const [name, value] of Object.entries(names)) text = text.replaceAll(name, value);
  message.fill?.forEach(([part, times], n) => {
    text = text.replace(`$FILL${n}`, () => part.repeat(times));
  });
  return Buffer.from(text, 'utf8');
}

describe('decode', () => {
  test.each(ACCEPT)('accepts $file: $description', (fixture) => {
    expect(decode(bytesOf(fixture))).toMatchObject(fixture.expect.envelope);
    expect(({} as Json).polluted).toBeUndefined();
  });

  test.each(REJECT.filter((fixture) => fixture.expect.door !== 'sentinel'))(
    'rejects $file: $description',
    (fixture) => {
      let error: unknown;
      try {
        decode(bytesOf(fixture));
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(FabricError);
      expect(error).toMatchObject({ code: fixture.expect.code });
    },
  );
});

describe('a live sentinel', () => {
  const { nodes } = startWire();

  let count = 0;
  const pair = async (): Promise<{ node: RawNode; server: RawNode; names: Record<string, string> }> => {
    const [node, server] = [await nodes.attached(), await nodes.attached()];
    const address = `server-${++count}@fame.fabric`;
    await server.serve(address);
    return { node, server, names: { $SERVERPATH: server.path, $SERVER: address, $PATH: node.path } };
  };

  test.each(ACCEPT.filter((fixture) => fixture.expect.live !== undefined))(
    'handles $file',
    async (fixture) => {
      const { node, server, names } = await pair();
      const { live } = fixture.expect;
      const bytes = bytesOf(fixture, names);
      const passed = live === 'passed' ? nextBytes(server) : undefined;
      node.raw(bytes);
      if (passed) {
        const arrived = JSON.parse(await passed);
        expect(arrived).toMatchObject(JSON.parse(bytes.toString('utf8')));
        expect(await node.silent((m) => m.frame?.type === 'DeliveryAck')).toBe(true);
      } else if (live === 'silent') {
        expect(await node.silent((m) => m.frame?.type !== 'NodeHeartbeatAck')).toBe(true);
      } else {
        expect(await node.next((m) => m.corrId === live.corrId)).toMatchObject(live);
      }
      expect(node.isClosed).toBe(false);
    },
  );

  test.each(REJECT)('refuses $file within 1 s and forwards nothing', async (fixture) => {
    const { node, server, names } = await pair();
    node.raw(bytesOf(fixture, names));
    if (fixture.expect.close === undefined) {
      const nack = await node.next((m) => m.frame?.type === 'DeliveryAck', 1_000);
      expect(nack.frame).toMatchObject({ ok: false, code: fixture.expect.code });
      expect((await node.heartbeat()).frame.ok).toBe(true);
    } else {
      expect((await node.closed).code).toBe(fixture.expect.close);
    }
    expect(await server.silent((m) => m.frame?.type !== 'NodeHeartbeatAck')).toBe(true);
  });
});

/** The next message, as text. */
const nextBytes = (node: RawNode): Promise<string> =>
  new Promise((resolve) => {
    node.socket.once('message', (data) => resolve(String(data)));
  });

test('there are at least 40 fixtures, and every frame type has one', () => {
  expect(ACCEPT.length + REJECT.length).toBeGreaterThanOrEqual(40);
  const types = new Set(ACCEPT.map((fixture) => decode(bytesOf(fixture)).frame.type));
  expect([...types].sort()).toEqual(
    [
      'AddressBind',
      'AddressBindAck',
      'AddressUnbind',
      'AddressUnbindAck',
      'CallCancel',
      'CapabilityAdvertise',
      'CapabilityAdvertiseAck',
      'CapabilityWithdraw',
      'CapabilityWithdrawAck',
      'CreditUpdate',
      'Data',
      'DeliveryAck',
      'KeyAnnounce',
      'KeyRequest',
      'NodeAttach',
      'NodeAttachAck',
      'NodeHeartbeat',
      'NodeHeartbeatAck',
      'SecureAccept',
      'SecureClose',
      'SecureOpen',
    ].sort(),
  );
});
