// nats-server under the same load, if it is installed: requests and replies of the same size, in the NATS protocol. It has
// neither JSON nor envelopes, so its figures are only shown for scale.
import { spawn, spawnSync } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { cpuUs, freePort } from './contestants.ts';

interface NatsNode {
  publish(subject: string, replyTo: string, payload: Buffer): void;
  subscribe(subject: string, onMessage: (replyTo: string, payload: Buffer) => void): void;
  socket: Socket;
}

async function natsNode(port: number): Promise<NatsNode> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  const handlers = new Map<string, (replyTo: string, payload: Buffer) => void>();
  let pending: Buffer = Buffer.alloc(0);
  let sid = 0;
  const ready = Promise.withResolvers<void>();
  socket.once('error', ready.reject);
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      const end = pending.indexOf('\r\n');
      if (end < 0) return;
      const line = pending.toString('latin1', 0, end);
      if (line.startsWith('MSG ')) {
        const parts = line.split(' ');
        const length = Number(parts.at(-1));
        if (pending.length < end + 2 + length + 2) return;
        const payload = pending.subarray(end + 2, end + 2 + length);
        pending = pending.subarray(end + 4 + length);
        handlers.get(parts[2]!)?.(parts.length === 5 ? parts[3]! : '', payload);
        continue;
      }
      pending = pending.subarray(end + 2);
      if (line === 'PING') socket.write('PONG\r\n');
      else if (line === 'PONG') ready.resolve();
    }
  });
  socket.write('CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n');
  await ready.promise;
  return {
    socket,
    publish(subject, replyTo, payload) {
      socket.cork();
      socket.write(`PUB ${subject}${replyTo === '' ? '' : ` ${replyTo}`} ${payload.length}\r\n`);
      socket.write(payload);
      socket.write('\r\n');
      process.nextTick(() => socket.uncork());
    },
    subscribe(subject, onMessage) {
      const id = String(++sid);
      handlers.set(id, onMessage);
      socket.write(`SUB ${subject} ${id}\r\n`);
    },
  };
}

/** Returns lines for the table, or a note that nats-server is not installed. */
export async function measureNats(): Promise<string[]> {
  if (spawnSync('nats-server', ['--version']).error) return ['nats-server is not installed: not measured'];
  const port = await freePort();
  const child = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const lines: string[] = [];
  try {
    let agent: NatsNode | undefined;
    for (let attempt = 0; agent === undefined; attempt++) {
      try {
        agent = await natsNode(port);
      } catch (error) {
        if (attempt > 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const { publish } = agent;
    agent.subscribe('echo', (replyTo, payload) => publish(replyTo, '', payload));
    for (const size of [256, 4_096, 65_536]) {
      // As large as our envelope around a payload of that size.
      const payload = Buffer.alloc(size + 330, 'x');
      const nodes = await Promise.all(Array.from({ length: 16 }, () => natsNode(port)));
      let trips = 0;
      for (const [i, node] of nodes.entries()) {
        node.subscribe(`inbox.${i}`, () => {
          trips++;
          node.publish('echo', `inbox.${i}`, payload);
        });
        node.publish('echo', `inbox.${i}`, payload);
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
      trips = 0;
      const before = cpuUs(child.pid!);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const us = (cpuUs(child.pid!) - before) / Math.max(1, 2 * trips);
      lines.push(
        `nats-server ${size} B c16  ${us.toFixed(1)} us per message, ${trips}/s (one driver for both sides)`,
      );
      for (const node of nodes) node.socket.destroy();
    }
    agent.socket.destroy();
  } finally {
    child.kill('SIGKILL');
  }
  return lines;
}
