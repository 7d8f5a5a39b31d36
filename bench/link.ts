// Cost of our link: a client and an agent, each a process with a link, and 16 open calls on one connection.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { cpuUs, OURS, start } from './contestants.ts';
import { median } from './median.ts';

export interface LinkFigures {
  clientUs: number;
  agentUs: number;
  rate: number;
}

const here = fileURLToPath(import.meta.url);

/** Number of windows, of which the median counts, and the length of each. */
const WINDOWS = 5;
const WINDOW_MS = 800;

/** Runs client and agent against our sentinel. */
export async function measureLink(): Promise<LinkFigures> {
  const sentinel = await start(OURS);
  const child = (role: string) => {
    const forked = fork(here, [role, sentinel.url], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const next = (): Promise<unknown> => new Promise((resolve) => forked.once('message', resolve));
    return { process: forked, next };
  };
  const agent = child('agent');
  await agent.next();
  const client = child('client');
  await client.next();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const count = async (): Promise<number> => {
    const answer = client.next();
    client.process.send('count');
    return (await answer) as number;
  };
  const windows: LinkFigures[] = [];
  for (let n = 0; n < WINDOWS; n++) {
    const before = await count();
    const clientCpu = cpuUs(client.process.pid!);
    const agentCpu = cpuUs(agent.process.pid!);
    const from = performance.now();
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
    const trips = (await count()) - before;
    windows.push({
      clientUs: (cpuUs(client.process.pid!) - clientCpu) / trips,
      agentUs: (cpuUs(agent.process.pid!) - agentCpu) / trips,
      rate: (trips / (performance.now() - from)) * 1_000,
    });
  }
  const figures = {
    clientUs: median(windows.map(({ clientUs }) => clientUs)),
    agentUs: median(windows.map(({ agentUs }) => agentUs)),
    rate: median(windows.map(({ rate }) => rate)),
  };
  client.process.kill('SIGKILL');
  agent.process.kill('SIGKILL');
  sentinel.stop();
  return figures;
}

async function child(role: string, url: string): Promise<void> {
  const { Link } = await import('@fame-fabric/shared');
  const { wsDial } = await import('@fame-fabric/shared/node');
  const { payloadAround } = await import('./fame-node.ts');
  const link = new Link({ url, dial: wsDial });
  await link.connect();
  if (role === 'agent') {
    await link.bind('echo@fame.fabric', { onCall: (call) => call.reply(call.params) });
    process.send?.('ready');
    return;
  }
  const { head, tail } = payloadAround(256, 'echo');
  const { params } = JSON.parse(`${head}x${tail}`) as { params: unknown };
  let trips = 0;
  const loop = async (): Promise<void> => {
    for (;;) {
      await link.call('echo@fame.fabric', 'echo', params);
      trips++;
    }
  };
  for (let i = 0; i < 16; i++) void loop();
  process.on('message', () => process.send?.(trips));
  process.send?.('ready');
}

if (process.argv[1] === here && process.argv[2] && process.argv[3]) {
  process.on('disconnect', () => process.exit(0));
  await child(process.argv[2], process.argv[3]);
}
