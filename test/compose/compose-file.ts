// Reads docker-compose.yml as compose does: merge keys, then `${NAME:-default}` from an environment.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Service {
  image?: string;
  build?: { context: string; args: Record<string, string> };
  entrypoint?: string[];
  command?: string[];
  restart?: string;
  scale?: number;
  environment?: Record<string, string | number | null>;
  ports?: string[];
  volumes?: string[];
  profiles?: string[];
  networks?: string[];
  network_mode?: string;
  tmpfs?: string[];
  cap_drop?: string[];
  security_opt?: string[];
  read_only?: boolean;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  logging?: { driver: string; options: Record<string, string> };
}

export interface ComposeFile {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
  networks: Record<string, { internal?: boolean }>;
}

/** Replaces `${NAME:-default}` in every text; an empty value counts as unset, as in the `:-` form. */
function interpolate(value: unknown, env: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string') {
    const text = value.replace(
      /\$\{(\w+):-([^}]*)\}/g,
      (_, name: string, fallback: string) => env[name] || fallback,
    );
    if (text.includes('${')) throw new Error(`Only the form \${NAME:-default} is supported: ${value}`);
    return text;
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, env));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, env)]));
  }
  return value;
}

export const readCompose = (path: string, env: Readonly<Record<string, string>> = {}): ComposeFile =>
  interpolate(parse(readFileSync(path, 'utf8'), { merge: true }), env) as ComposeFile;

/** The environment of a service as its process sees it. */
export const textEnv = ({ environment = {} }: Service): Record<string, string> =>
  Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value ?? '')]));
