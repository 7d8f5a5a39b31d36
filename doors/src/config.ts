// The doors that exist, and the variable that names them. Loads neither fastify nor the link: every sentinel reads it at its start.
import { tryParseAddress } from '@fame-fabric/shared';
import {
  closestMatch,
  type Environment,
  type EnvReader,
  readEnv,
  type Variable,
} from '@fame-fabric/shared/internal';

/** The paths of each door. A path belongs to a door if it is one of these, or below one of them. */
export const DOOR_PATHS = Object.freeze({
  openai: ['/v1'],
  a2a: ['/.well-known/agent-card.json', '/.well-known/agent.json', '/a2a'],
  mcp: ['/mcp'],
  http: ['/agents', '/openapi.json', '/fame/v1/gateway'],
} as const satisfies Record<string, readonly string[]>);

export type DoorName = keyof typeof DOOR_PATHS;

export const DOOR_NAMES = Object.keys(DOOR_PATHS) as readonly DoorName[];

export const DOOR_VARIABLES: readonly Variable[] = Object.freeze([
  {
    name: 'FAME_DOORS',
    type: 'list',
    default: DOOR_NAMES.join(','),
    description:
      'Doors on the port of the sentinel, which serve clients of other protocols over HTTP; none serves no doors.',
  },
  {
    name: 'FAME_CHAT_ADDRESS',
    type: 'address',
    default: 'chat@fame.fabric',
    description: 'The agent of a request that names none, such as that of the A2A card at the root.',
  },
  {
    name: 'FAME_PUBLIC_URL',
    type: 'url',
    default: '',
    description:
      'URL under which clients reach the port, such as https://fame.example.org, for the links in A2A cards. Without it they have the Host of the request.',
  },
] as const satisfies Variable[]);

/** Settings of the doors that variables set. */
export interface DoorSettings {
  readonly chatAddress: string;
  /** Without a slash at its end. */
  readonly publicUrl: string | undefined;
}

/** Reads the settings of the doors. @throws {CONFIG_INVALID} */
export const readDoorSettings = (env: Environment): DoorSettings =>
  readEnv(env, (reader) => {
    const chatAddress = reader.text('FAME_CHAT_ADDRESS') ?? 'chat@fame.fabric';
    const isAddress = tryParseAddress(chatAddress) !== undefined;
    reader.check('FAME_CHAT_ADDRESS', chatAddress, isAddress, 'an address such as chat@fame.fabric');
    const publicUrl = reader.url('FAME_PUBLIC_URL', {
      protocols: ['http:', 'https:'],
      example: 'https://fame.example.org',
    });
    return { chatAddress, publicUrl: publicUrl?.replace(/\/+$/, '') };
  });

/** Reads the names of the doors. @throws {CONFIG_INVALID} */
export const readDoorNames = (env: Environment): readonly DoorName[] => readEnv(env, namesIn);

function namesIn(reader: EnvReader): readonly DoorName[] {
  const given = reader.list('FAME_DOORS').map((name) => name.toLowerCase());
  if (given.length === 0) return DOOR_NAMES;
  if (given.length === 1 && given[0] === 'none') return [];
  for (const name of given) {
    const match = closestMatch(name, DOOR_NAMES);
    const expected = `doors of ${DOOR_NAMES.join(', ')}, separated by commas, or none`;
    reader.check('FAME_DOORS', name, isDoor(name), match ? `${expected}. Did you mean ${match}?` : expected);
  }
  return DOOR_NAMES.filter((name) => given.includes(name));
}

const isDoor = (name: string): name is DoorName => Object.hasOwn(DOOR_PATHS, name);

/** Returns the door that a path belongs to, of those given. */
export const doorOfPath = (path: string, names: readonly DoorName[]): DoorName | undefined =>
  names.find((name) => DOOR_PATHS[name].some((own) => path === own || path.startsWith(`${own}/`)));
