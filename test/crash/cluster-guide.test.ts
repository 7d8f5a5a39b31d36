// The commands of docs/guides/cluster.md, block by block in one shell, with free ports and a database of the test. The last block needs a
// container engine; cluster-containers.test.ts runs its services as processes.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { NATS_SERVER } from '../kit/nats.ts';
import { noPostgres, PostgresServer } from '../kit/postgres.ts';
import { fameArgs, freePort, Proc, ROOT } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { stopStack } from '../kit/stack.ts';

const GUIDE = readFileSync(join(ROOT, 'docs/guides/cluster.md'), 'utf8');
const blocks = [...GUIDE.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);

describe.skipIf(!NATS_SERVER.isUsable || noPostgres() !== undefined)('docs/guides/cluster.md', () => {
  let database: PostgresServer | undefined;
  let shell: Proc | undefined;
  afterAll(async () => {
    shell?.write('kill $(jobs -p); wait; exit');
    await shell?.exited;
    await stopStack();
    await database?.close();
  });

  test('its commands start a cluster and talk to it', { timeout: 90_000, retry: 0 }, async () => {
    database = await PostgresServer.start();
    const ports = [await freePort(), await freePort(), await freePort()];
    const directory = temporaryDirectory();
    const bin = join(directory, 'bin');
    mkdirSync(bin);
    symlinkSync(NATS_SERVER.path!, join(bin, 'nats-server'));
    const quoted = [process.execPath, ...fameArgs()].map((part) => `'${part}'`).join(' ');
    // `npx fame-fabric` is the built command.
    writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec ${quoted} "$@"\n`, { mode: 0o755 });
    shell = new Proc('bash', ['-m'], {
      name: 'shell',
      cwd: directory,
      env: { PATH: `${bin}:${process.env.PATH}`, FAME_LOG_LEVEL: 'warn' },
    });
    const [nats, one, two] = ports.map(String);
    const given = (text: string): string =>
      text
        .replaceAll('4222', nats!)
        .replaceAll('8001', one!)
        .replaceAll('8002', two!)
        .replaceAll('postgres://fame:secret@127.0.0.1:5432/fame', `'${database!.tcpUrl()}'`);
    const [server, sentinels, agents, talk, ...others] = blocks as [string, string, string, string];
    expect(others).toEqual([expect.stringMatching(/^docker compose --profile cluster up/)]);
    shell.write(given(server));
    await shell.waitFor(/Server is ready/);
    shell.write(given(sentinels));
    for (const port of [one, two]) {
      await expect
        .poll(() =>
          fetch(`http://127.0.0.1:${port}/readyz`).then(
            ({ status }) => status,
            () => 0,
          ),
        )
        .toBe(200);
    }
    shell.write(given(agents));
    await shell.waitFor(/ is served through [\s\S]* is served through /);
    shell.write(`${given(talk)}echo 'all done'`);
    await shell.waitFor(/all done/, 40_000);
    expect(shell.output).toContain('51');
    expect(shell.output.match(/chat@\*\.fame\.fabric/g)!.length).toBeGreaterThan(1);
  });
});
