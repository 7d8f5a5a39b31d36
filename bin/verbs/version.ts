// `fame version`.
import { readFileSync } from 'node:fs';
import { type VerbInput, writeJson, writeOut } from '../verb.ts';

export async function run({ flags }: VerbInput): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const node = process.versions.node;
  if (flags.json) writeJson({ version, node });
  else writeOut(`fame-fabric ${version} (Node ${node})\n`);
  return 0;
}
