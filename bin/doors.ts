// The doors of a sentinel that a command starts. They load with the first request to one of them.
import { doorOfPath, doorsText, readDoorSettings } from '@fame-fabric/doors/config';
import type { Environment } from '@fame-fabric/shared/internal';
import type { Doors } from '@fame-fabric/shared/router';

/** Reads the settings of the doors. Undefined if they are switched off. @throws {CONFIG_INVALID} */
export function doorsOf(env: Environment): Doors | undefined {
  const { names, chatAddress, publicUrl } = readDoorSettings(env);
  if (names.length === 0) return undefined;
  return {
    text: doorsText(names) || undefined,
    names,
    chatAddress,
    publicUrl,
    claims: (path) => doorOfPath(path, names) !== undefined,
    open: async (host) =>
      (await import('@fame-fabric/doors')).openDoors(host, names, { chatAddress, publicUrl }),
  };
}
