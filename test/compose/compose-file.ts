// Reads docker-compose.yml as compose does: merge keys, then `${NAME:-default}` from an environment.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Service {
  image?: string;
  build?: { context: string; args: Record<string, string> };
  command?: string[];
  environment?: Record<string, string | number | null>;
  ports?: string[];
  volumes?: string[];
  profiles?: string[];
  tmpfs?: string[];
  cap_drop?: string[];
  security_opt?: string[];
  read_only?: boolean;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  logging?: { driver: string; options: Record<string, string> };
}

export interface ComposeFile {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
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
