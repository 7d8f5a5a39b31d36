// `fame version`: the version of the package and of Node.
import { readFileSync } from 'node:fs';
import { EXIT } from '@fame-fabric/shared/internal';
import { writeJson, writeOut } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export async function run({ flags }: VerbInput): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const node = process.versions.node;
  if (flags.json) writeJson({ version, node });
  else writeOut(`fame-fabric ${version} (Node ${node})\n`);
  return EXIT.ok;
}
