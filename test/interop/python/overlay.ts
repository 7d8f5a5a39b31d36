// G12: signed envelopes with Python nodes of the peer, on our sentinel and on theirs.
import { deepStrictEqual, match } from 'node:assert/strict';
import { createLinkSignatures } from '@fame-fabric/shared/signature';
import { connectLink, mathService } from '../../kit/our-node.ts';
import { freePort, healthy } from '../../kit/processes.ts';
import { admissionUrl, startOurSentinel } from '../../kit/sentinel.ts';
import { type Report, readReport, startPython } from './peer.ts';

const ENV = { FAME_SECURITY_PROFILE: 'overlay', FAME_AUTHORIZATION_PROFILE: 'noop' };
const connectSigned = (url: string) => connectLink(url, { signatures: createLinkSignatures() });

async function startPythonSentinel(): Promise<{ url: string }> {
  const port = await freePort();
  const url = admissionUrl(port);
  const proc = startPython({ url }, 'sentinel.py', [], {
    env: { ...ENV, FAME_LISTENER_PORT: String(port) },
  });
  await healthy(`http://127.0.0.1:${port}/fame/v1/attach/health`, proc);
  return { url };
}

/** Starts both fabrics, and reports each result by its name. */
export async function checkOverlay(
  check: (what: string, run: () => void | Promise<void>) => void,
): Promise<void> {
  for (const [where, start] of [
    ['our sentinel', () => startOurSentinel({ env: { FAME_SECURITY_PROFILE: 'overlay' } })],
    ['the Python sentinel', startPythonSentinel],
  ] as const) {
    const { url } = await start();
    const [link, agent] = await Promise.all([connectSigned(url), connectSigned(url)]);
    await agent.bind('math@fame.fabric', mathService());
    const served = startPython({ url }, 'agent.py', ['math', 'math-py@fame.fabric'], { env: ENV });
    const deadline = Date.now() + 40_000;
    const isServed = (): Promise<boolean> =>
      link.call('math-py@fame.fabric', 'add', { x: 1, y: 1 }).then(
        (sum) => sum === 2,
        () => false,
      );
    while (!(await isServed())) {
      if (!served.alive || Date.now() > deadline) throw served.failure('did not bind its address');
    }
    const report: Report = await readReport(startPython({ url }, 'client.py', ['math'], { env: ENV }));
    for (const [kind, name] of [
      ['ts', 'our agent'],
      ['py', 'a Python agent'],
    ] as const) {
      const { add, named, count, burst } = report[kind];
      check(`overlay: a Python client calls ${name} on ${where}, and reads its stream`, () =>
        deepStrictEqual([add, named, count, burst], [7, 42, true, true]),
      );
    }
    check(`overlay: a refusal of ${where} reaches a Python client`, () =>
      match(report.unserved, /unserved@fame.fabric/),
    );
    for (const address of ['math@fame.fabric', 'math-py@fame.fabric']) {
      check(`overlay: our link calls ${address} on ${where}, also with floats`, async () => {
        deepStrictEqual(await link.call(address, 'add', { x: 1.5, y: 2 }), 3.5);
        // Python answers a whole float with 2.0.
        deepStrictEqual(await link.call(address, 'add', { x: 0.5, y: 1.5 }), 2);
        let next = 1;
        for await (const item of link.stream(address, 'count', { args: [100] }))
          deepStrictEqual(item, next++);
        deepStrictEqual(next, 101);
      });
    }
  }
}
