// `npm run packages`: writes the packages as they are published to `dist/packages`, as folders and as tarballs.
// `--repository URL` adds the repository to them.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './packages.ts';
import { type StagedPackage, type StageOptions, stagePackages } from './stage.ts';

export interface PackedPackage extends StagedPackage {
  /** Path of the tarball. */
  readonly tarball: string;
}

/** Stages and packs every package. */
export function packPackages({ output, repository }: StageOptions): PackedPackage[] {
  const staged = stagePackages({ output, repository });
  const folders = staged.map(({ folder }) => folder);
  const json = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', output, ...folders],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const packed = JSON.parse(json) as { name: string; filename: string }[];
  return staged.map((one) => {
    const { filename } = packed.find(({ name }) => name === one.name)!;
    return { ...one, tarball: join(output, filename) };
  });
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { repository: { type: 'string' } } });
  for (const { tarball } of packPackages({ output: join(ROOT, 'dist/packages'), ...values }))
    console.log(tarball);
}
