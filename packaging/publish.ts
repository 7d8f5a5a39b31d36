// `npm run publish-packages -- [--dry-run] [--repository URL] [--tag vX.Y.Z]`: packs the packages and publishes each after those that it
// depends on. Versions that the registry has are skipped, so a run that failed half-way can be repeated.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type PackedPackage, packPackages } from './pack.ts';
import { ROOT, readPackages } from './packages.ts';

/** True if the registry has this version. @throws an Error if the registry cannot be asked */
function isPublished({ name, version }: PackedPackage): boolean {
  const { status, stdout, stderr } = spawnSync('npm', ['view', `${name}@${version}`, 'version', '--json'], {
    encoding: 'utf8',
  });
  // npm prints nothing for a version that a known package lacks.
  if (status === 0) return stdout.trim() !== '';
  if (`${stdout}${stderr}`.includes('E404')) return false;
  throw new Error(`Cannot ask the registry for ${name}@${version}: ${stderr.trim()}`);
}

function publish({ name, version, tarball }: PackedPackage, isDryRun: boolean): void {
  const args = ['publish', tarball, '--access', 'public', ...(isDryRun ? ['--dry-run'] : [])];
  const { status } = spawnSync('npm', args, { stdio: 'inherit' });
  if (status !== 0)
    throw new Error(`Cannot publish ${name}@${version}. Run the command again to continue there.`);
}

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    repository: { type: 'string' },
    tag: { type: 'string' },
  },
});
for (const { manifest } of readPackages()) {
  if (values.tag !== undefined && values.tag !== `v${manifest.version}`) {
    throw new Error(`The tag is ${values.tag}, but ${manifest.name} has version ${manifest.version}.`);
  }
}
for (const one of packPackages({ output: join(ROOT, 'dist/packages'), repository: values.repository })) {
  if (isPublished(one)) console.log(`${one.name}@${one.version} is published already`);
  else publish(one, values['dry-run']);
}
