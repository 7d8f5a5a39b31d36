// Reads the error of a model server in any of the shapes that servers send: an object or a text under `error`, a list, `detail`,
// `msg`, an error inside an error, or plain text. The `openai` package leaves the body under `error` of its own error.

/** An error that a server sent. */
export interface ServerError {
  /** HTTP status, if known. */
  readonly status: number | undefined;
  /** `code` and `type` of the error in one text, for patterns. */
  readonly kind: string;
  /** The parameter that it names; an empty text if none. */
  readonly param: string;
  /** Its reason in the server's own words; an empty text if there is none. */
  readonly reason: string;
  /** Target of a redirect. */
  readonly location: string | undefined;
}

type Loose = Record<string, unknown>;

const MAX_DEPTH = 6;

const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';

/** Reads an error of the `openai` package, or one that the server sent in a stream. */
export function readServerError(thrown: unknown): ServerError {
  const caught = isObject(thrown) ? thrown : {};
  const body = bodyOf(caught);
  const status = typeof caught.status === 'number' ? caught.status : undefined;
  const headers = caught.headers as { get?(name: string): string | null } | undefined;
  const parts = partsOf(body, 0);
  const own = [caught.code, caught.type, ...parts.flatMap(({ code, type, status }) => [code, type, status])];
  return {
    status,
    kind: [...new Set(own.map(textOf).filter((one) => one !== ''))].join(' '),
    param: textOf(caught.param) || parts.map(({ param }) => textOf(param)).find(Boolean) || '',
    reason: reasonIn(body, 0),
    location: headers?.get?.('location') ?? undefined,
  };
}

/** The body as parsed, or its text. */
function bodyOf({ error, message, status }: Loose): unknown {
  if (error !== undefined && error !== null) return error;
  const text = textOf(message).replace(new RegExp(`^${textOf(status)} `), '');
  if (/^(?:\d+ )?status code \(no body\)$/.test(text)) return undefined;
  // The title says enough about an HTML page.
  return /^\s*</.test(text) ? (/<title[^>]*>([^<]*)</i.exec(text)?.[1]?.trim() ?? '') : text;
}

/** The error and the errors inside it. */
function partsOf(value: unknown, depth: number): Loose[] {
  if (depth > MAX_DEPTH) return [];
  if (Array.isArray(value)) return partsOf(value[0], depth + 1);
  return isObject(value) ? [value, ...partsOf(value.error, depth + 1)] : [];
}

function reasonIn(value: unknown, depth: number): string {
  if (typeof value === 'string') return value.trim();
  if (depth > MAX_DEPTH) return '';
  if (Array.isArray(value)) {
    return value
      .slice(0, 3)
      .map((one) => reasonIn(one, depth + 1))
      .filter((one) => one !== '')
      .join('; ');
  }
  if (!isObject(value)) return '';
  const { message, error, detail, msg, errors, loc, metadata, title, error_description } = value;
  const candidates = [message, error, detail, msg, errors, error_description, title];
  const reason = candidates.map((one) => reasonIn(one, depth + 1)).find((one) => one !== '') ?? '';
  if (Array.isArray(loc)) return `${loc.map(textOf).join('.')}: ${reason}`;
  // A router wraps the error of the server behind it.
  const raw = isObject(metadata) ? wrapped(metadata.raw, depth) : '';
  return raw === '' || reason.includes(raw) ? reason : `${reason}: ${raw}`;
}

function wrapped(raw: unknown, depth: number): string {
  if (typeof raw !== 'string') return reasonIn(raw, depth + 1);
  try {
    return reasonIn(JSON.parse(raw), depth + 1);
  } catch {
    return raw.trim();
  }
}
