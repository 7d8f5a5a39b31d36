// `fame key rotate local`: replaces the local key of the sentinel of this directory. A key is never printed.
import { dirname } from 'node:path';
import { EXIT } from '@fame-fabric/shared/internal';
import { findLocalKey, rotateLocalKey } from '@fame-fabric/shared/node';
import { readClientConfig } from '../config.ts';
import { writeNote, writeOut } from '../output.ts';
import { UsageError, type VerbInput } from '../verb.ts';

export async function run({ positionals, env }: VerbInput): Promise<number> {
  const [action, name] = positionals;
  if (action !== 'rotate') throw new UsageError(`key takes rotate, not "${action}"`);
  if (name !== 'local') throw new UsageError('key rotate takes the name of a key; there is one: local');
  const file = findLocalKey(readClientConfig(env).token.dataDir);
  if (file === undefined) {
    writeNote(
      'There is no local key here. Run the command where the sentinel was started, or set FAME_DATA_DIR to its data directory. A start of a sentinel makes the key.\n',
    );
    return EXIT.failure;
  }
  rotateLocalKey(dirname(file));
  writeOut(
    `The key in ${file} was replaced. A running sentinel refuses the old one from now on, and closes its nodes within 5 s; those that read this file return by themselves. Replace copies elsewhere, such as in FAME_ADMISSION_TOKEN.\n`,
  );
  return EXIT.ok;
}
