// `fame key rotate local`: replaces the local key of the sentinel of this directory. A key is never printed.
import { dirname } from 'node:path';
import { EXIT } from '@fame-fabric/shared/internal';
import { findLocalKey, rotateLocalKey } from '@fame-fabric/shared/node';
import { readClientConfig } from '../config.ts';
import { writeNote, writeOut } from '../output.ts';
import { UsageError, type VerbInput } from '../verb.ts';

export async function run({ positionals, env }: VerbInput): Promise<number> {
  const [action, name] = positionals;
  if (action !== 'rotate') throw new UsageError(`the action of key is rotate, not "${action}"`);
  if (name !== 'local') throw new UsageError('key rotate takes the name of a key; the only one is local');
  const file = findLocalKey(readClientConfig(env).token.dataDir);
  if (file === undefined) {
    writeNote(
      'There is no local key here. Run the command where the sentinel was started, or set FAME_DATA_DIR to its data directory. A sentinel creates the key when it starts.\n',
    );
    return EXIT.failure;
  }
  rotateLocalKey(dirname(file));
  writeOut(
    `The key in ${file} was replaced. A running sentinel now refuses the old key, and closes the nodes that sent it within 5 s. Nodes that read this file attach again by themselves. Replace other copies, such as the one in FAME_ADMISSION_TOKEN.\n`,
  );
  return EXIT.ok;
}
