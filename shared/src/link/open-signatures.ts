// The security profile of a node that attaches. Loads the code for signatures only if the profile needs it.
import type { EnvReader } from '../env/read-env.ts';
import type { LinkSignatures } from './signatures.ts';

/** Profile of a node. Sentinels with other profiles accept nodes with `open`. */
export type NodeSecurityProfile = 'open' | 'overlay';

/** Reads FAME_SECURITY_PROFILE. `checkNaylenceVariables` refuses its other values. */
export const readNodeSecurityProfile = (reader: EnvReader): NodeSecurityProfile =>
  reader.unquoted('FAME_SECURITY_PROFILE')?.toLowerCase() === 'overlay' ? 'overlay' : 'open';

/** Creates the keys of a node with the profile `overlay`. Needs Node. */
export const openLinkSignatures = async (
  profile: NodeSecurityProfile | undefined,
): Promise<LinkSignatures | undefined> =>
  profile === 'overlay' ? (await import('./node-signatures.ts')).createLinkSignatures() : undefined;
