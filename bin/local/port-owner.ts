// Finds the process that listens on a port, so that error messages can name it.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { cutText, escapeLine } from '@fame-fabric/shared/internal';

export interface PortOwner {
  pid: number;
  /** Command line, cut to a readable length and safe to print. */
  command: string;
}

const CONNECT_TIMEOUT_MS = 1_000;
const MAX_COMMAND_CHARS = 100;

/** True if something listens at `host:port`. */
export function isPortTaken(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const settle = (isTaken: boolean): void => {
      socket.destroy();
      resolve(isTaken);
    };
    socket.once('connect', () => settle(true));
    socket.once('timeout', () => settle(true)); // a process holds the port but does not accept
    socket.once('error', () => settle(false));
  });
}

/** True if the port completes a TLS handshake, with any certificate. Nothing is sent over the connection. */
export function speaksTls(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls({ host, port, rejectUnauthorized: false, timeout: CONNECT_TIMEOUT_MS });
    const settle = (isTls: boolean): void => {
      socket.destroy();
      resolve(isTls);
    };
    socket.once('secureConnect', () => settle(true));
    socket.once('timeout', () => settle(false));
    socket.once('error', () => settle(false));
    socket.once('close', () => settle(false));
  });
}

/** Returns the process that listens on `port`, or `undefined` if the system hides it, such as that of another user. */
export function portOwner(port: number): PortOwner | undefined {
  try {
    return process.platform === 'linux' ? linuxOwner(port) : lsofOwner(port);
  } catch {
    return undefined; // access denied, or no lsof
  }
}

function linuxOwner(port: number): PortOwner | undefined {
  const inodes = new Set([
    ...listeningInodes('/proc/net/tcp', port),
    ...listeningInodes('/proc/net/tcp6', port),
  ]);
  if (inodes.size === 0) return undefined;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    let links: string[];
    try {
      links = readdirSync(`/proc/${entry}/fd`).map((fd) => readLink(`/proc/${entry}/fd/${fd}`));
    } catch {
      continue; // a process of another user, or one that has just ended
    }
    if (!links.some((link) => inodes.has(link))) continue;
    const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return { pid: Number(entry), command: printable(command) };
  }
  return undefined;
}

const printable = (command: string): string => escapeLine(cutText(command, MAX_COMMAND_CHARS));

const readLink = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed since the listing
  }
};

// Lines of /proc/net/tcp: `sl local_address rem_address st ... inode`; state 0A is LISTEN, ports are hexadecimal.
function listeningInodes(file: string, port: number): string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return []; // a kernel without IPv6
  }
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(wanted) && state === '0A')
    .map((fields) => `socket:[${fields[9]}]`);
}

function lsofOwner(port: number): PortOwner | undefined {
  const args = ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'];
  const text = execFileSync('lsof', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const pid = /^p(\d+)$/m.exec(text)?.[1];
  return pid === undefined
    ? undefined
    : { pid: Number(pid), command: printable(/^c(.*)$/m.exec(text)?.[1] ?? '') };
}
