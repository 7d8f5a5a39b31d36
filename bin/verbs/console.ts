// `fame console`: prints a one-time link that signs a browser in to the console.
import { EXIT } from '@fame-fabric/shared/internal';
import { readClientConfig, sentinelOf } from '../config.ts';
import { writeJson, writeNote, writeOut } from '../output.ts';
import { createSignInLink } from '../sentinel-http.ts';
import type { VerbInput } from '../verb.ts';

export async function run({ flags, env }: VerbInput): Promise<number> {
  const link = await createSignInLink(sentinelOf(readClientConfig(env)));
  if (flags.json) writeJson(link);
  else {
    writeOut(`${link.url}\n`);
    writeNote('Open the link in a browser. It works once, within an hour.\n');
  }
  return EXIT.ok;
}
