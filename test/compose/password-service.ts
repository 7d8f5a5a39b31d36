// Runs the service of docker-compose.yml that writes the password of PostgreSQL, with a directory in place of its volume.
import { execFileSync } from 'node:child_process';
import { cleanEnv } from '../kit/processes.ts';
import type { Service } from './compose-file.ts';

/** Runs the service once. @throws if it fails */
export function writePassword({ entrypoint = [], command = [] }: Service, directory: string): void {
  const [node, ...args] = [...entrypoint, ...command].map((word) =>
    word.replaceAll("'/data/", `'${directory}/`),
  );
  if (node !== 'node') throw new Error(`The service starts ${node}; expected node`);
  execFileSync(process.execPath, args, { env: cleanEnv() });
}
