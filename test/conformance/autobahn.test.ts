// The sockets of the sentinel under the Autobahn test suite, on an echo server: framing, pings, reserved bits, opcodes,
// fragments, UTF-8, closing, and large messages. The cases are those that `ws` itself runs, without compression.
import { startEchoServer } from '@fame-fabric/sentinel/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CaseResult, findPython2, installAutobahn, runAutobahn } from '../kit/autobahn.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';

const CASES = ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '9.2.*', '9.6.*', '9.8.*', '10.*'];
const CASE_COUNT = 265;
/** Cases of early refusal: `ws` refuses invalid UTF-8 at the end of its message, not at the first bad byte. */
const REFUSED_LATE = /^6\.4\.[1-4]$/;
const TIMEOUT_MS = 600_000;

const python = findPython2();

describe.skipIf(python === undefined)('Autobahn (needs Python 2.7 with pip)', () => {
  const servers: Awaited<ReturnType<typeof startEchoServer>>[] = [];
  let results: Record<string, Record<string, CaseResult>>;

  beforeAll(async () => {
    installAutobahn(python!);
    for (const usesPlainWs of [false, true]) servers.push(await startEchoServer({ usesPlainWs }));
    const [own, plain] = servers;
    results = await runAutobahn(python!, {
      servers: { 'node-socket': own!.url, 'plain-socket': plain!.url },
      cases: CASES,
      outDir: temporaryDirectory(),
    });
  }, TIMEOUT_MS);

  afterAll(async () => {
    for (const server of servers) await server.close();
  });

  test.each(['node-socket', 'plain-socket'])('every case passes on a %s', (socket) => {
    const outcomes = Object.entries(results[socket]!);
    expect(outcomes).toHaveLength(CASE_COUNT);
    const failed = outcomes.filter(([id, { behavior, behaviorClose }]) => {
      const isPassed = behavior === 'OK' || behavior === 'INFORMATIONAL';
      const isLate = behavior === 'NON-STRICT' && REFUSED_LATE.test(id);
      return !(isPassed || isLate) || !['OK', 'INFORMATIONAL'].includes(behaviorClose);
    });
    expect(failed).toEqual([]);
  });
});
