// The settings of a node that gets its tokens from an issuer. The variables of naylence have their names.
import type { EnvReader } from '../env/read-env.ts';
import type { Variable } from '../env/variable.ts';
import { ISSUER_URL_FORM, isIssuerUrl } from './issuer-request.ts';

export interface IssuerSettings {
  readonly tokenUrl: string;
  readonly clientId: string;
  /** One of the two is set. */
  readonly clientSecret: string | undefined;
  readonly clientSecretFile: string | undefined;
  readonly scope: string;
  readonly audience: string | undefined;
}

const SCOPE = 'node.connect';
/** The variables that an issuer needs, one of each line. */
const NEEDED: readonly (readonly [string, ...string[]])[] = [
  ['FAME_ADMISSION_CLIENT_ID'],
  ['FAME_ADMISSION_CLIENT_SECRET', 'FAME_ADMISSION_CLIENT_SECRET_FILE'],
];

export const ISSUER_VARIABLES: readonly Variable[] = Object.freeze<Variable[]>([
  {
    name: 'FAME_ADMISSION_TOKEN_URL',
    type: 'url',
    default: '(none)',
    description:
      'Token endpoint of an issuer. The node gets its tokens there, and renews them before they expire. Excludes FAME_ADMISSION_TOKEN.',
  },
  {
    name: 'FAME_ADMISSION_CLIENT_ID',
    type: 'text',
    default: '',
    description: 'Client id for FAME_ADMISSION_TOKEN_URL.',
  },
  {
    name: 'FAME_ADMISSION_CLIENT_SECRET',
    type: 'text',
    default: '',
    description: 'Client secret for FAME_ADMISSION_TOKEN_URL.',
    secret: true,
  },
  {
    name: 'FAME_ADMISSION_CLIENT_SECRET_FILE',
    type: 'path',
    default: '',
    description:
      'File with the client secret, read again for each token. Set this or FAME_ADMISSION_CLIENT_SECRET.',
  },
  {
    name: 'FAME_ADMISSION_TOKEN_SCOPE',
    type: 'text',
    default: SCOPE,
    description: 'Scopes of the requested tokens, separated by spaces.',
  },
  {
    name: 'FAME_JWT_AUDIENCE',
    type: 'text',
    default: 'the path of the sentinel',
    description:
      'Audience of the requested tokens: that of FAME_JWT_AUDIENCE of the sentinel. Unset: the issuer chooses it.',
  },
  {
    name: 'FAME_ALLOW_HTTP_ISSUER',
    type: 'boolean',
    default: 'false',
    description: 'true permits http:// URLs of issuers on other machines, such as in a private network.',
  },
]);

/** Reads the settings of the issuer; undefined if there is none. Records faults in `reader`. */
export function readIssuerSettings(reader: EnvReader): IssuerSettings | undefined {
  const tokenUrl = reader.unquoted('FAME_ADMISSION_TOKEN_URL');
  const allowsHttp = reader.boolean('FAME_ALLOW_HTTP_ISSUER', false);
  const settings = {
    clientId: reader.secret('FAME_ADMISSION_CLIENT_ID') ?? '',
    clientSecret: reader.secret('FAME_ADMISSION_CLIENT_SECRET'),
    clientSecretFile: reader.fileOfSecret('FAME_ADMISSION_CLIENT_SECRET'),
    scope: reader.unquoted('FAME_ADMISSION_TOKEN_SCOPE') ?? SCOPE,
    audience: reader.unquoted('FAME_JWT_AUDIENCE'),
  };
  if (tokenUrl === undefined) return undefined;
  reader.check('FAME_ADMISSION_TOKEN_URL', tokenUrl, isIssuerUrl(tokenUrl, allowsHttp), ISSUER_URL_FORM);
  for (const name of ['FAME_ADMISSION_TOKEN', 'FAME_ADMISSION_TOKEN_FILE']) {
    if (reader.text(name) !== undefined)
      reader.faults.push(`${name} and FAME_ADMISSION_TOKEN_URL are both set; unset one of them`);
  }
  for (const [name, ...others] of NEEDED) {
    if ([name, ...others].every((one) => reader.text(one) === undefined))
      reader.faults.push(`${name} is not set, and FAME_ADMISSION_TOKEN_URL needs it`);
  }
  return { ...settings, tokenUrl };
}
